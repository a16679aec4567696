"""The Ollama instances of a host: what they have, what they hold in memory, and on which card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory (`/api/ps`).

    :param size: bytes it takes altogether
    :param size_vram: bytes of that on a GPU; less than `size` where part of it is computed by the CPU
    """

    model: str
    size: int
    size_vram: int


@dataclass(frozen=True)
class InstanceState:
    """One server that answered. `tags` are the models in its store, which instances may share."""

    version: str
    tags: tuple[str, ...]
    loaded: tuple[LoadedModel, ...]


@dataclass(frozen=True)
class GpuProcess:
    """A process that computes on a card, and the unit that it belongs to."""

    gpu: str
    pid: int
    unit: str | None


@dataclass(frozen=True)
class OllamaState:
    """The instances by port (None: does not answer), and whatever computes on the cards."""

    instances: dict[int, InstanceState | None] = field(default_factory=dict)
    processes: tuple[GpuProcess, ...] = ()

    def cards(self, unit: str) -> tuple[str, ...]:
        """UUIDs of the cards on which processes of `unit` compute."""
        return tuple(sorted({process.gpu for process in self.processes if process.unit == unit}))

    def others(self, gpu: str, unit: str) -> tuple[int, ...]:
        """Process ids of what computes on a card and is not of `unit`."""
        return tuple(process.pid for process in self.processes if process.gpu == gpu and process.unit != unit)


def parse_instance(lines: Sequence[str]) -> InstanceState | None:
    """The answers of `/api/version`, `/api/tags` and `/api/ps`, a line each; None where one is missing."""
    try:
        version, tags, ps = (json.loads(line) for line in lines[:3])
        return InstanceState(
            version=version["version"],
            tags=tuple(model["name"] for model in tags["models"] or ()),
            loaded=tuple(map(_loaded, ps["models"] or ())),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _loaded(model: dict[str, Any]) -> LoadedModel:
    return LoadedModel(
        model=model["name"],
        size=model["size"],
        size_vram=model.get("size_vram", 0),
    )


def parse(output: Iterable[str]) -> OllamaState:
    """The answer of files/facts/ollama.sh."""
    instances: dict[int, InstanceState | None] = {}
    processes = []
    for title, lines in script.sections(output):
        key, _, argument = title.partition(" ")
        if key == "instance":
            instances[int(argument)] = parse_instance(lines)
        elif key == "processes":
            for line in lines:
                gpu, pid, *unit = line.split()
                if gpu.startswith("GPU-") and pid.isdigit():
                    processes.append(GpuProcess(gpu, int(pid), unit[0] if unit else None))
    return OllamaState(instances, tuple(processes))


class Instances(FactBase[OllamaState]):
    """Version, models in the store and models in memory of the instances on `ports`, and what is on which card."""

    def command(self, ports: Sequence[int]) -> StringCommand:
        """The script and its arguments."""
        return script.command("ollama.sh", *ports)

    @staticmethod
    def default() -> OllamaState:
        """Nothing answers."""
        return OllamaState()

    def process(self, output: list[str]) -> OllamaState:
        """Read the answer of `command`."""
        return parse(output)

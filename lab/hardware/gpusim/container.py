"""The container toolkit's hook, and its runtime: containers get the cards they ask for, or do not start.

Images on CUDA say which driver they are made for (`NVIDIA_REQUIRE_CUDA`): a container on a card of another brand or
with an older driver does not start, unless it says `NVIDIA_DISABLE_REQUIRE`.

Docker runs `nvidia-container-runtime-hook prestart` for `--gpus`; `--runtime=nvidia` comes through
`nvidia-container-runtime`, which adds the same hook and hands over to runc. The real hook mounts the driver into
the container; here the environment variable is all that a container gets.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from .state import Gpu, Machine, driver_loaded, load

HOOK = "/usr/bin/nvidia-container-runtime-hook"
VARIABLE = "NVIDIA_VISIBLE_DEVICES"
REQUIRE, REQUIRE_NOTHING = "NVIDIA_REQUIRE_", "NVIDIA_DISABLE_REQUIRE"
_CONDITION = re.compile(r"(cuda|driver|brand)(>=|<=|!=|=|<|>)(.+)")


def hook() -> int:
    """Check the cards that a starting container asks for. The container's state is on standard input."""
    if sys.argv[1:] not in ([], ["prestart"]):  # createRuntime and the later hooks have nothing to do
        return 0
    bundle = Path(json.load(sys.stdin)["bundle"])
    config = json.loads((bundle / "config.json").read_text())
    devices = visible_devices(config)
    if not devices:
        return 0
    problem = _problem(devices, requirements(config))
    if problem is None:
        return 0
    sys.stderr.write(f"Auto-detected mode as 'legacy'\nnvidia-container-cli: {problem}\n")
    return 1


def visible_devices(config: dict[str, Any]) -> list[str]:
    """The cards in a container's configuration: indexes or full UUIDs, `all`, or nothing."""
    value = _environment(config).get(VARIABLE, "")
    if value in ("", "void", "none"):
        return []
    return value.split(",")


def requirements(config: dict[str, Any]) -> list[str]:
    """What a container requires of driver and cards; each has alternatives, of conditions that go together."""
    environment = _environment(config)
    if environment.get(REQUIRE_NOTHING) in ("1", "t", "T", "true", "TRUE", "True"):  # as Go reads a boolean
        return []
    return [value for name, value in environment.items() if name.startswith(REQUIRE)]


def _environment(config: dict[str, Any]) -> dict[str, str]:
    entries = config.get("process", {}).get("env") or []
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def _problem(devices: list[str], required: list[str]) -> str | None:
    if not driver_loaded():
        return "initialization error: nvml error: driver not loaded"
    machine = load()
    cards: list[Gpu] = []
    for device in devices:
        found = machine.present if device == "all" else [machine.find(device)]
        if ":" in device or None in found:
            return f"device error: {device}: unknown device"
        cards += [card for card in found if card]
    for requirement in required:
        for card in cards:
            if not any(
                all(_holds(condition, machine, card) for condition in alternative.split(","))
                for alternative in requirement.split()
            ):
                return (
                    f"requirement error: unsatisfied condition: {requirement.split()[0]}, please update your driver to"
                    " a newer version, or use an earlier cuda container"
                )
    return None


def _holds(condition: str, machine: Machine, card: Gpu) -> bool:
    match = _CONDITION.fullmatch(condition)
    if match is None:
        return False
    what, comparator, value = match.groups()
    if what == "brand":
        brand = "tesla" if card.data_center else "geforce"
        return (brand == value) == (comparator == "=")
    found = _version(machine.cuda_version if what == "cuda" else machine.driver_version)
    order = (found > _version(value)) - (found < _version(value))
    return order in {">=": (0, 1), "<=": (-1, 0), "!=": (-1, 1), "=": (0,), "<": (-1,), ">": (1,)}[comparator]


def _version(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]


def runtime() -> int:
    """Be runc, with the hook added to a container that is being created."""
    arguments = sys.argv[1:]
    if "create" in arguments:
        for place, word in enumerate(arguments):
            if word in ("--bundle", "-b"):
                add_hook(Path(arguments[place + 1]) / "config.json")
    os.execvp("runc", ["runc", *arguments])  # noqa: S606 - no shell is the point


def add_hook(config: Path) -> None:
    """Have the hook run before the container starts, once."""
    content = json.loads(config.read_text())
    prestart = content.setdefault("hooks", {}).setdefault("prestart", [])
    if all(Path(entry["path"]).name != Path(HOOK).name for entry in prestart):
        prestart.append({"path": HOOK, "args": [Path(HOOK).name, "prestart"]})
        config.write_text(json.dumps(content))

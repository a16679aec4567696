"""The GPUs of a host as its NVIDIA driver sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script

# As in files/facts/gpus.sh.
FIELDS = (
    "uuid", "name", "pci.bus_id", "memory.total", "driver_version",
    "power.limit", "power.min_limit", "power.max_limit",
)  # fmt: skip
LISTED = re.compile(r"GPU \d+: (?P<name>.+) \(UUID: (?P<uuid>GPU-[0-9a-f-]+)\)")


@dataclass(frozen=True)
class GpuCard:
    """One card. A value that the driver does not have ("[N/A]", or a card that it lists and cannot ask) is None.

    :param bus: PCI address as lspci shows it, "03:00.0"
    """

    uuid: str
    name: str
    bus: str | None = None
    memory_total_mib: int | None = None
    driver: str | None = None
    power_limit_w: float | None = None
    power_min_w: float | None = None
    power_max_w: float | None = None


@dataclass(frozen=True)
class GpuState:
    """All cards of a host.

    :param installed: nvidia-smi is there
    :param error: message of nvidia-smi instead of a list of the cards (driver not loaded, newer than the loaded
        module …); None when it answered
    """

    installed: bool = False
    error: str | None = None
    gpus: tuple[GpuCard, ...] = ()

    def matching(self, uuid: str) -> tuple[GpuCard, ...]:
        """The cards whose UUID begins with `uuid`."""
        return tuple(gpu for gpu in self.gpus if gpu.uuid.startswith(uuid))


def pci_address(text: str) -> str:
    """A PCI address in lspci's short form: the domain only where it is not 0, lower case.

    nvidia-smi writes "00000000:0A:00.0", `lspci -D` "0000:0a:00.0"; both are "0a:00.0".
    """
    *domain, bus, slot = text.strip().lower().split(":")
    number = int(domain[0], 16) if domain else 0
    return f"{number:04x}:{bus}:{slot}" if number else f"{bus}:{slot}"


def parse_list(lines: Iterable[str]) -> list[GpuCard]:
    """The cards in the output of `nvidia-smi -L`; slices of a card (MIG) and messages are passed over."""
    found = (LISTED.fullmatch(line.strip()) for line in lines)
    return [GpuCard(card["uuid"], card["name"]) for card in found if card]


def parse_query(lines: Iterable[str]) -> list[GpuCard]:
    """The cards in the output of `nvidia-smi --query-gpu=…`, with FIELDS, noheader and nounits."""
    gpus = []
    for line in lines:
        row = line.split(", ")
        if len(row) != len(FIELDS) or not row[0].startswith("GPU-"):
            continue  # a message about a card that could not be asked
        value = {key: _value(text) for key, text in zip(FIELDS, row, strict=True)}
        bus, memory = value["pci.bus_id"], value["memory.total"]
        gpus.append(
            GpuCard(
                uuid=row[0],
                name=row[1],
                bus=pci_address(bus) if bus else None,
                memory_total_mib=int(memory) if memory else None,
                driver=value["driver_version"],
                power_limit_w=_float(value["power.limit"]),
                power_min_w=_float(value["power.min_limit"]),
                power_max_w=_float(value["power.max_limit"]),
            )
        )
    return gpus


def parse(output: Iterable[str]) -> GpuState:
    """The answer of files/facts/gpus.sh."""
    parts: dict[str, list[str]] = {}
    status = 0
    for title, lines in script.sections(output):
        key, _, argument = title.partition(" ")
        parts[key] = lines
        if key == "status":
            status = int(argument)
    listed = parse_list(parts.get("list", []))
    queried = {gpu.uuid: gpu for gpu in parse_query(parts.get("query", []))}
    message = " ".join(line.strip() for line in parts.get("list", []) if not LISTED.fullmatch(line.strip()))
    failed = status != 0 or (message and not listed)
    return GpuState(
        installed=True,
        error=(message or f"nvidia-smi -L ended with status {status}") if failed else None,
        gpus=tuple(queried.get(gpu.uuid, gpu) for gpu in listed),
    )


def _value(text: str) -> str | None:
    """A field of a query; "[N/A]", "[Not Supported]", "[Unknown Error]" … are no values."""
    return None if not text or text.startswith("[") or text == "N/A" else text


def _float(text: str | None) -> float | None:
    return None if text is None else float(text)


class Gpus(FactBase[GpuState]):
    """The cards, in one question. Without nvidia-smi: a state that is not `installed`."""

    def command(self) -> StringCommand:
        """The script and its arguments."""
        return script.command("gpus.sh")

    @staticmethod
    def default() -> GpuState:
        """No driver."""
        return GpuState()

    def process(self, output: list[str]) -> GpuState:
        """Read the answer of `command`."""
        return parse(output)

"""The PCI devices of the machine as a sysfs tree, so that the real lspci shows the simulated cards.

The tree is mounted over /sys/bus/pci/devices; `lspci -O sysfs.path=<folder>/pci` reads it without any mount.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from .state import Machine

VGA, AUDIO, HOST_BRIDGE = 0x030000, 0x040300, 0x060000
MEMORY_BAR = 0xF0000000


@dataclass(frozen=True)
class Function:
    """One PCI function: address without domain, `vendor:device` pairs in hex, class code, revision, interrupt."""

    address: str
    device: str
    subsystem: str
    class_code: int
    revision: int
    irq: int


def functions(machine: Machine) -> list[Function]:
    """The board's host bridge and, for every present card, its display and its sound function."""
    found = [Function("00:00.0", "8086:3e0f", "1462:7b51", HOST_BRIDGE, 0x08, 0)]
    for number, gpu in enumerate(machine.present):
        found.append(Function(gpu.bus, gpu.pci_device, gpu.pci_subsystem, VGA, 0xA1, 130 + number))
        sound = gpu.bus.removesuffix("0") + "1"
        found.append(Function(sound, gpu.pci_audio, gpu.pci_subsystem, AUDIO, 0xA1, 17))
    return found


def write_tree(machine: Machine, folder: Path) -> None:
    """Make `folder`/devices show exactly the present cards. `devices` itself stays: it may be mounted."""
    devices = folder / "devices"
    devices.mkdir(parents=True, exist_ok=True)
    present = {f"0000:{function.address}": function for function in functions(machine)}
    for entry in devices.iterdir():
        if entry.name not in present:
            for file in entry.iterdir():
                file.unlink()
            entry.rmdir()
    for name, function in present.items():
        _write(devices / name, function)


def _write(folder: Path, function: Function) -> None:
    folder.mkdir(exist_ok=True)
    vendor, device = _ids(function.device)
    subsystem_vendor, subsystem_device = _ids(function.subsystem)
    bar = 0 if function.class_code == HOST_BRIDGE else MEMORY_BAR
    regions = [(bar, bar + 0xFFFFFF, 0x40200)] if bar else [(0, 0, 0)]
    regions += [(0, 0, 0)] * (13 - len(regions))
    for name, value in {
        "vendor": f"0x{vendor:04x}",
        "device": f"0x{device:04x}",
        "subsystem_vendor": f"0x{subsystem_vendor:04x}",
        "subsystem_device": f"0x{subsystem_device:04x}",
        "class": f"0x{function.class_code:06x}",
        "revision": f"0x{function.revision:02x}",
        "irq": str(function.irq),
        "enable": "1",
        "resource": "\n".join(" ".join(f"0x{word:016x}" for word in region) for region in regions),
    }.items():
        (folder / name).write_text(value + "\n")
    (folder / "config").write_bytes(_header(function, bar))


def _header(function: Function, bar: int) -> bytes:
    """The standard 64 bytes of a type 0 configuration header (PCI Local Bus Specification 3.0, 6.1)."""
    command, status, cache_line_words = 0x0007, 0x0010, 0x10
    pin = 1 if function.irq else 0
    return struct.pack(
        "<HHHHB3s4B6IIHHI8s4B",
        *_ids(function.device),
        command,
        status,
        function.revision,
        function.class_code.to_bytes(3, "little"),
        *(cache_line_words, 0, 0, 0),  # latency timer, header type, self test
        *(bar, 0, 0, 0, 0, 0),
        0,  # CardBus
        *_ids(function.subsystem),
        0,  # expansion ROM
        bytes(8),  # capabilities, reserved
        *(function.irq % 256, pin, 0, 0),
    )


def _ids(pair: str) -> tuple[int, int]:
    vendor, device = pair.split(":")
    return int(vendor, 16), int(device, 16)

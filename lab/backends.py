"""What the lab's server runs in: LAB_BACKEND names it."""

from __future__ import annotations

import os

from lab.machine import Machine
from lab.nspawn_machine import NspawnMachine
from lab.paths import Lab
from lab.qemu_machine import QemuMachine

BACKENDS: dict[str, type[NspawnMachine | QemuMachine]] = {"nspawn": NspawnMachine, "qemu": QemuMachine}


def server(lab: Lab, disks: str = "machine") -> Machine:
    """The machine of a lab, in what LAB_BACKEND names.

    :param disks: as of `Machine`
    :raises SystemExit: it names none
    """
    name = os.environ.get("LAB_BACKEND") or "nspawn"
    if name not in BACKENDS:
        raise SystemExit(f"LAB_BACKEND: found {name!r}, expected one of {', '.join(BACKENDS)}")
    return BACKENDS[name](lab, disks)


def stop(lab: Lab) -> None:
    """Stop whatever machine of the lab runs. All kinds have one address and one port on the bridge."""
    machines = [backend(lab) for backend in BACKENDS.values()]
    # One that runs goes first: it may be asked over that port, which each of them takes away.
    for machine in sorted(machines, key=lambda machine: not machine.running):
        machine.stop()

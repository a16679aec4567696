"""What the units that the deploy installs may do on the host, as systemd counts it."""

from __future__ import annotations

import re

from blueprint import render
from group_data.all import paths
from lab.hardware import install as hardware
from lab.layers import ROOTFS
from lab.machine import Machine

SYSTEMD = "/etc/systemd/system"
# systemd's "exposure" on its scale from 0 to 10, up to which it calls a unit OK.
OK = 4.5


def installed(machine: Machine) -> list[str]:
    """Services besides the packages' and the lab's own, each instance of a template by itself."""
    found = machine.run(
        f"find {SYSTEMD} -maxdepth 1 -type f -name '*.service' -printf '%f\\n'"
    ).stdout.split()
    labs = {path.name for path in (ROOTFS / SYSTEMD.lstrip("/")).iterdir()} | {hardware.UNIT}
    units = []
    for name in sorted(set(found) - labs):
        template = name.replace("@.", "@*.")
        listed = machine.run(f"systemctl list-units --all --plain --no-legend '{template}'").stdout
        units += [line.split()[0] for line in listed.splitlines()] if "@" in name else [name]
    return units


def exposure(machine: Machine, unit: str) -> float:
    """What `systemd-analyze security` says in one number."""
    shown = machine.run(f"systemd-analyze security --no-pager {unit}").stdout
    level = re.search(r"Overall exposure level for \S+: (\d+\.\d)", shown)
    assert level, shown
    return float(level[1])


def test_a_unit_that_only_some_hosts_have_may_do_no_more(machine: Machine) -> None:
    unit = render(
        "gpu/gpu-power-limits.service.j2", scripts=paths.scripts, limits="/etc/sourcefast/gpu-power-limits"
    )
    file = "/run/gpu-power-limits.service"
    machine.run(f"cat >{file}", input=unit)
    try:
        assert exposure(machine, f"--offline=true {file}") <= OK
    finally:
        machine.run(f"rm {file}")


def test_no_unit_may_do_more_than_it_needs(machine: Machine) -> None:
    units = installed(machine)
    assert {
        "host-firewall.service",
        "shared-whisper.service",
        "swapfile.service",
        "ollama@heavy.service",
    } <= set(units)
    exposed = {unit: exposure(machine, unit) for unit in units}
    assert {unit: level for unit, level in exposed.items() if level > OK} == {}

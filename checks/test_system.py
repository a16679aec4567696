"""Packages, units, memory and upkeep of the system (requirements 1.1 and 11)."""

from __future__ import annotations

import pytest

from blueprint.applied import Applied
from checks.expect import expect, no_problems
from checks.server import Server
from checks.system import SWAP, SWAPPINESS, running_units, system
from facts.host import Host
from phases import preflight
from phases.hardware.docker import VENDOR_ENGINE

pytestmark = pytest.mark.hardware


def test_machine_is_the_declared_one(server: Server) -> None:
    """The cores, memory and disk are those of the hardware profile, which every budget is computed for."""
    no_problems(preflight.machine_problems(server.blueprint, server.fact(Host)))


def test_packages_are_installed(server: Server) -> None:
    """Every declared package is installed and configured: a half-installed one breaks at the next start."""
    state = server.fact(Host)
    declared = server.blueprint.system(state.os, state.os_version) or server.blueprint.systems[0]
    found = system(server)["packages"]
    engine = () if any(name in found for name in VENDOR_ENGINE) else declared.docker
    names = {*declared.base, *declared.nginx, *declared.nvidia_driver, *declared.container_toolkit, *engine}
    states = {name: found[name]["state"][1:] if name in found else "missing" for name in names}
    expect("packages", states, dict.fromkeys(names, "i"), "dpkg --audit; run --data phase=hardware")


def test_driver_and_toolkit_are_held(server: Server) -> None:
    """No upgrade replaces the driver under running cards: that ends CUDA until a reboot."""
    state = server.fact(Host)
    declared = server.blueprint.system(state.os, state.os_version) or server.blueprint.systems[0]
    missing = set(declared.held) - set(system(server)["held"])
    expect("apt-mark showhold", missing, set(), "run --data phase=hardware")


def test_no_unit_has_failed(server: Server) -> None:
    """No unit of the host has failed, ours or not."""
    expect("systemctl --failed", system(server)["failed"], [], "systemctl status UNIT; journalctl -u UNIT")


def test_units_run(server: Server, applied: Applied) -> None:
    """All services and timers are active, so that nothing waits for a person after a crash."""
    found = system(server)["units"]
    states = {unit: found.get(unit, {}).get("ActiveState", "missing") for unit in running_units(applied)}
    expect("units", states, dict.fromkeys(running_units(applied), "active"), "systemctl status UNIT")


def test_units_start_at_boot(server: Server, applied: Applied) -> None:
    """All of them are enabled or started by something that is, so that a reboot brings them back."""
    found = system(server)["units"]
    started = {"enabled", "static", "enabled-runtime", "alias", "indirect", "generated"}
    states = {unit: found.get(unit, {}).get("UnitFileState", "missing") for unit in running_units(applied)}
    wrong = {unit: state for unit, state in states.items() if state not in started}
    expect("units at boot", wrong, {}, "systemctl enable UNIT")


def test_units_run_as_on_the_disk(server: Server) -> None:
    """systemd has read every unit file as it is now: otherwise the next restart surprises."""
    stale = [name for name, unit in system(server)["units"].items() if unit.get("NeedDaemonReload") == "yes"]
    expect("units with files that changed", stale, [], "systemctl daemon-reload, then restart them")


def test_swappiness_is_in_force(server: Server) -> None:
    """The kernel prefers compressed memory over dropping caches (requirements 11.4)."""
    own_kernel(server)
    expect(
        SWAPPINESS, system(server)["sysctl"][SWAPPINESS], str(server.blueprint.swappiness), "sysctl --system"
    )


def test_compressed_swap_is_in_force(server: Server) -> None:
    """zram has the declared algorithm and priority, and its share of the memory (requirements 11.4)."""
    own_kernel(server)
    blueprint, found = server.blueprint, system(server)
    active = {name: swap["priority"] for name, swap in found["swaps"].items() if name.startswith("/dev/zram")}
    disks = {name: one["algorithm"] for name, one in found["zram"].items() if name in active}
    expect("zram: algorithm", list(disks.values()), [blueprint.zram_algorithm], "systemctl restart zramswap")
    expect("zram: priority", list(active.values()), [blueprint.zram_priority], "systemctl restart zramswap")
    size = sum(found["zram"][name]["bytes"] for name in disks)
    percent = round(100 * size / server.fact(Host).memory)
    expect(
        "zram: percent of the memory", percent, blueprint.profile.zram_percent, "systemctl restart zramswap"
    )


def test_swap_file_is_in_force(server: Server) -> None:
    """The swap file is active at its declared size, below the compressed swap (requirements 1.1)."""
    own_kernel(server)
    swap = system(server)["swaps"].get(server.blueprint.paths.swap_file, {})
    size = round(swap.get("kib", 0) / 1024**2)
    expect("swap file in GiB", size, server.blueprint.swap_gib, "systemctl restart swapfile")
    below = swap.get("priority", -1) < server.blueprint.zram_priority
    expect("swap file below zram", below, True, "swapon --show")


def test_swap_comes_back_at_boot(server: Server) -> None:
    """Both swaps are enabled. In a container, whose kernel is its host's, they are skipped and do not fail."""
    units = {unit: system(server)["units"][unit] for unit in SWAP}
    skipped = system(server)["container"] != "none"
    found = {unit: (one["UnitFileState"], one["ConditionResult"]) for unit, one in units.items()}
    expected = dict.fromkeys(SWAP, ("enabled", "no" if skipped else "yes"))
    expect("units of the swap: at boot, conditions met", found, expected, "systemctl enable UNIT")


def own_kernel(server: Server) -> None:
    """Skip the check in a container, where the kernel's settings are not the host's."""
    if (container := system(server)["container"]) != "none":
        # systemd skips the units by their own condition, which test_swap_comes_back_at_boot holds them to.
        pytest.skip(f"the kernel is that of the machine around this {container} container")

"""Checks of a host before its first change: one report has all obstacles (requirements 1, 2.1 and 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from blueprint import Blueprint, DeclarationError
from blueprint.model import Stack
from blueprint.stacks import outline
from facts.cache import cached_fact
from facts.docker import Engine
from facts.gpu import Gpus, GpuState
from facts.host import UNNAMED, Host, HostState, Listener
from facts.stacks import Stacks, StacksState
from operations import docker
from operations.checks import report
from operations.stack_difference import managed
from phases.cards import old_driver
from phases.hardware.base import WEB_SERVER
from phases.hardware.firewall import firewall_problems
from phases.hardware.ollama import FILTER
from phases.hardware.ssh import ssh_problems
from specs.problems import Problem

GIB = 1024**3
MIB = 1024**2
WEB_PORTS = (80, 443)  # what the proxy serves
CONTAINERS = "docker-proxy"  # listens on what a container publishes
CLOCK_TOLERANCE_S = 60  # a larger offset breaks TLS certificates and apt's release files first
NVIDIA_VENDOR = "10de:"
HAND_OVER = "hand it over as docs/coolify.md says, then run again"


def unfit(blueprint: Blueprint) -> Iterator[Problem]:
    """Every obstacle of the machine to phase hardware."""
    state = cached_fact(Host)
    yield from machine_problems(blueprint, state)
    yield from docker.problems(
        cached_fact(Engine, parts=("versions",)), blueprint.docker_minimum, blueprint.compose_minimum
    )
    yield from gpu_problems(blueprint, state, cached_fact(Gpus))
    yield from ssh_problems()
    yield from firewall_problems(blueprint)
    yield from coolify_problems(blueprint, state)


def coolify_problems(blueprint: Blueprint, state: HostState) -> Iterator[Problem]:
    """A problem where Coolify, which manages its host over SSH from its container, cannot reach it."""
    ports = {one.port for one in state.listeners or () if one.process == "sshd"} or {22}
    if state.coolify and not ports & set(blueprint.container_tcp_ports):
        container_ports = ", ".join(str(port) for port in (*sorted(ports), *blueprint.container_tcp_ports))
        yield Problem(
            "SSH for Coolify",
            f"Coolify runs here, and containers reach {', '.join(map(str, blueprint.container_tcp_ports))} of the host",
            "SSH among them: it manages its host from a container",
            f"container_tcp_ports: [{container_ports}] under `data` of the host in production.yaml",
        )


def require_unmanaged(blueprint: Blueprint, stacks: Sequence[Stack]) -> None:
    """Stop the run where Coolify manages a container that has the name of one of ours.

    :param stacks: those of the run
    :raises DeployError: one report of every such container
    """
    if not stacks:
        return
    root = blueprint.paths.stacks
    desired = [outline(root, stack) for stack in stacks]
    found: StacksState = cached_fact(Stacks, root=root)
    if problems := list(managed(desired, found, HAND_OVER)):
        raise DeployError(
            report(f"{host.name} has containers of Coolify's, and nothing was changed", problems)
        )


def machine_problems(blueprint: Blueprint, state: HostState) -> Iterator[Problem]:
    """Obstacles of system, processor, memory, disk, ports and clock."""
    system = blueprint.system(state.os, state.os_version)
    names = ", ".join(system.name for system in blueprint.systems)
    if system is None:
        yield Problem(
            "operating system",
            state.os_name,
            f"one of {names}",
            "install one of these, or declare it in `systems`",
        )
    elif not system.tested and not blueprint.allow_untested_os:
        tested = ", ".join(system.name for system in blueprint.systems if system.tested)
        remedy = "take a tested system, or accept this one with --data allow_untested_os=true"
        yield Problem("operating system", f"{system.name}, declared but not tested", tested, remedy)
    if state.machine != "x86_64":
        yield Problem(
            "architecture", state.machine, "x86_64", "take another machine: Ollama's archive is for x86_64"
        )
    if state.uid != 0:
        yield Problem(
            "user", f"uid {state.uid}", "root", "log in as root, or set `sudo: true` in production.yaml"
        )
    profile = blueprint.profile
    remedy = (
        f"correct group_data/{profile.name}.py, or take another profile with --data hardware_profile=NAME"
    )
    if profile.cpu_model not in state.cpu or profile.cores != state.cores:
        expected = f"{profile.cpu_model} with {profile.cores} cores"
        yield Problem("processor", f"{state.cpu} with {state.cores} cores", expected, remedy)
    # The kernel reserves some memory; the next smaller size of a board's memory is a quarter less.
    if not 0.9 <= state.memory / (profile.ram_gib * GIB) <= 1.02:
        yield Problem("memory", f"{state.memory / GIB:.1f} GiB", f"{profile.ram_gib} GiB", remedy)
    yield from _budget_problems(blueprint, state)
    yield from _disk_problems(blueprint, state)
    yield from _port_problems(blueprint, state)
    if abs(state.clock_offset_s) > CLOCK_TOLERANCE_S:
        yield Problem(
            "clock",
            f"{state.clock_offset_s:+.0f} s off this machine's",
            f"at most {CLOCK_TOLERANCE_S} s",
            "timedatectl set-ntp true",
        )
    if state.reboot_required:
        yield Problem(
            "pending reboot", "/run/reboot-required is there", "no pending reboot", "systemctl reboot"
        )


def _budget_problems(blueprint: Blueprint, state: HostState) -> Iterator[Problem]:
    """Budgets that the actual machine cannot hold; the blueprint has checked the declared machine."""
    declared = f"group_data/{blueprint.profile.name}.py"
    for violation in (
        *blueprint.memory_budget(state.memory // MIB).problems(declared),
        *blueprint.disk_budget(state.root_disk.size // MIB).problems(declared),
    ):
        yield replace(violation.problem, what=f"budget of {violation.key}")


def _disk_problems(blueprint: Blueprint, state: HostState) -> Iterator[Problem]:
    limits = blueprint.thresholds
    remedy = "docker image prune -a, journalctl --vacuum-size=200M, old backups; or a larger disk"
    disks = [state.root_disk]
    if (state.docker_disk.size, state.docker_disk.used) != (state.root_disk.size, state.root_disk.used):
        disks.append(state.docker_disk)
    for disk in disks:
        if disk.free < limits.disk_free_gib * GIB:
            free = f"{disk.free / GIB:.1f} GiB free"
            yield Problem(f"disk of {disk.path}", free, f"at least {limits.disk_free_gib} GiB", remedy)
        elif disk.percent >= limits.disk_refuse_percent:
            yield Problem(
                f"disk of {disk.path}",
                f"{disk.percent} % full",
                f"below {limits.disk_refuse_percent} %",
                remedy,
            )


def _port_problems(blueprint: Blueprint, state: HostState) -> Iterator[Problem]:
    instances = {instance.port for instance in blueprint.ollama_instances}
    # A process may listen on the same port of IPv4 and of IPv6. A listener without a process cannot be identified.
    taken = {(one.port, one.process): one for one in state.listeners or () if one.process}
    for listener in taken.values():
        expected = ""
        if listener.port in instances and not _is_instance(listener):
            expected = "free, or one of our instances of Ollama"
        elif listener.port == blueprint.whisper.port and listener.process != CONTAINERS:
            expected = f"free, or {blueprint.whisper.name}"
        elif listener.port in WEB_PORTS and listener.process != CONTAINERS:
            expected = "free, or a proxy in a container: that is what serves the web here"
        elif listener.unit == WEB_SERVER:
            expected = f"no {WEB_SERVER}: its package is for {FILTER}, and this unit is masked"
        if expected:
            unit = f", {listener.unit}" if listener.unit else ""
            found = f"taken by {listener.process} (process {listener.pid}{unit})"
            remedy = (
                f"systemctl disable --now {listener.unit}" if listener.unit else f"stop {listener.process}"
            )
            yield Problem(f"port {listener.port}", found, expected, remedy)


def _is_instance(listener: Listener) -> bool:
    """Whether an instance of `ollama@.service` listens, or the filter before them.

    The unit that the vendor's installer enables is `ollama.service`, on the port of the first instance.
    """
    if listener.process == "nginx":
        return listener.unit == FILTER
    return listener.process == "ollama" and (listener.unit is None or listener.unit.startswith("ollama@"))


def gpu_problems(blueprint: Blueprint, state: HostState, gpus: GpuState) -> Iterator[Problem]:
    """Obstacles of the cards, which are identified by bus and model, or by UUID once a driver answers."""
    if not gpus.installed:
        yield from _cards_on_the_bus(blueprint, state)
        yield from _driver_cannot_be_built(state)
    elif gpus.error:
        remedy = "systemctl reboot; if it stays: dkms status, dmesg | grep -i nvidia"
        yield Problem("NVIDIA driver", gpus.error, "a driver that answers", remedy)
    else:
        yield from _cards_of_the_driver(blueprint, gpus)


def _cards_on_the_bus(blueprint: Blueprint, state: HostState) -> Iterator[Problem]:
    present = {display.bus: display for display in state.displays if display.id.startswith(NVIDIA_VENDOR)}
    seen = ", ".join(f"{display.bus} {display.name}" for display in present.values()) or "no NVIDIA card"
    for gpu in blueprint.gpus:
        display = present.get(gpu.bus)
        if display is None:
            remedy = "power the machine off and reseat the card, or correct `gpus` in group_data/gpu.py"
            yield Problem(f"GPU at {gpu.bus}", seen, f"{gpu.model} at {gpu.bus}", remedy)
        # Without lspci only the address is known; the driver's own list is checked once a driver is installed.
        # pci.ids writes "GA104 [GeForce RTX 3070 Lite Hash Rate]": the model is a part of the name.
        elif display.name != UNNAMED and f"{gpu.model} " not in f"{display.name.replace(']', ' ')} ":
            remedy = "was it moved to another slot? correct `gpus` in group_data/gpu.py"
            yield Problem(f"GPU at {gpu.bus}", display.name, gpu.model, remedy)


def _driver_cannot_be_built(state: HostState) -> Iterator[Problem]:
    if state.headers == "missing":
        yield Problem(
            "kernel headers",
            f"none for {state.kernel}",
            "the headers of the running kernel, for the driver's module",
            "apt-get update; if they stay unknown, boot the distribution's current kernel",
        )
    if state.nouveau:
        yield Problem(
            "nouveau",
            "the open driver has the cards",
            "no nouveau",
            "echo 'blacklist nouveau' > /etc/modprobe.d/nouveau.conf && update-initramfs -u && systemctl reboot",
        )
    if state.secure_boot:
        yield Problem(
            "Secure Boot",
            "on",
            "off: the driver's module is built on the host and not signed",
            "switch it off in the firmware, or enrol a key and sign the module (mokutil)",
        )


def _cards_of_the_driver(blueprint: Blueprint, gpus: GpuState) -> Iterator[Problem]:
    yield from old_driver(blueprint, gpus, "apt-get install nvidia-driver, then reboot")
    try:
        cards = blueprint.resolve_gpus(gpus.gpus)
    except DeclarationError as error:
        yield from (violation.problem for violation in error.problems)
        return
    for gpu in blueprint.gpus:
        card = cards[gpu.uuid]
        least, most = card.power_min_w, card.power_max_w
        if gpu.power_limit_w is None or least is None or most is None or least <= gpu.power_limit_w <= most:
            continue
        expected = f"from {least:.0f} to {most:.0f} W, the limits of the {gpu.model}"
        found = f"{gpu.power_limit_w} W"
        yield Problem(f"power limit of {gpu.uuid}", found, expected, "correct `gpus` in group_data/gpu.py")

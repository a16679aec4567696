"""Machines for unit tests: the declared one as the facts see it, with a few things replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from blueprint import Blueprint
from facts.docker import EngineState, Server
from facts.gpu import GpuCard, GpuState
from facts.host import Disk, Display, HostState, Listener
from tests.unit.declared import declared

GIB = 1024**3
UUIDS = {
    "GPU-85c38fae": "GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e",
    "GPU-bdb1f5e4": "GPU-bdb1f5e4-7a0e-6c52-93d1-2f6b8c40e7a9",
    "GPU-d4fb9c68": "GPU-d4fb9c68-2b3c-a854-97ed-c82b3c580122",
}


def machine(blueprint: Blueprint | None = None, **replaced: Any) -> HostState:
    """A fresh machine that everything declared fits on, but for these fields."""
    blueprint = blueprint or declared()
    disk = Disk("/", size=500 * GIB, used=100 * GIB, free=375 * GIB)
    state = HostState(
        os="debian",
        os_version="13",
        os_name="Debian GNU/Linux 13 (trixie)",
        kernel="6.12.48+deb13-amd64",
        machine="x86_64",
        uid=0,
        cpu=f"Intel(R) {blueprint.profile.cpu_model} CPU @ 3.20GHz",
        cores=blueprint.profile.cores,
        memory=int(blueprint.profile.ram_gib * GIB * 0.97),
        root_disk=disk,
        docker_disk=replace(disk, path="/var/lib/docker"),
        headers="available",
        nouveau=False,
        secure_boot=False,
        clock_offset_s=0.4,
        listeners=(Listener(22, "sshd", 512, "ssh.service"),),
        displays=tuple(
            Display(gpu.bus, "10de:2484", f"NVIDIA Corporation GA104 [GeForce {gpu.model}]")
            for gpu in blueprint.gpus
        ),
        reboot_required=False,
        virtualization="none",
    )
    return replace(state, **replaced)


def cards(blueprint: Blueprint | None = None, **replaced: Any) -> GpuState:
    """The declared cards as a driver lists them that is in order; these fields are those of the first."""
    found = [
        GpuCard(
            uuid=UUIDS[gpu.uuid],
            name=f"NVIDIA GeForce {gpu.model}",
            bus=gpu.bus,
            memory_total_mib=gpu.vram_mib,
            driver="550.163.01",
            power_limit_w=220.0,
            power_min_w=100.0,
            power_max_w=240.0,
        )
        for gpu in (blueprint or declared()).gpus
    ]
    return GpuState(installed=True, gpus=(replace(found[0], **replaced), *found[1:]))


def engine(**replaced: Any) -> EngineState:
    """An engine that is there and in order, but for these fields of its answer."""
    server = Server(
        version="26.1.5+dfsg1",
        driver="overlay2",
        root="/var/lib/docker",
        live_restore=True,
        running=1,
        containers=1,
    )
    return replace(EngineState(installed=True, compose="2.26.1-4", server=server), **replaced)

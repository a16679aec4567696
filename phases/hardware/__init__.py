"""Phase 0 of the checklist: a bare machine becomes the GPU host (requirements 1, 4 and 11)."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.deploy import deploy

from blueprint import Blueprint, Secrets
from blueprint.applied import Applied
from blueprint.phases import HARDWARE
from facts.cache import cached_fact
from facts.host import Host
from phases.hardware.base import base
from phases.hardware.docker import docker
from phases.hardware.firewall import firewall
from phases.hardware.nvidia import nvidia
from phases.hardware.ollama import ollama
from phases.hardware.ssh import ssh
from phases.hardware.upkeep import upkeep
from phases.hardware.whisper import whisper
from phases.record import record


@deploy("Phase 0: hardware")
def hardware(applied: Applied, secrets: Secrets) -> None:
    """System, driver, SSH, firewall, Docker, the five Ollama instances, whisper, watchdog and cleanup."""
    blueprint = applied.blueprint
    state = cached_fact(Host)
    system = blueprint.system(state.os, state.os_version) or blueprint.systems[0]
    base(blueprint=blueprint, system=system)
    nvidia(blueprint=blueprint, system=system, state=state)
    ssh()
    # Before Docker, which then never runs without it.
    firewall(blueprint=blueprint)
    docker(blueprint=blueprint, system=system, secrets=secrets)
    ollama(blueprint=blueprint)
    whisper(blueprint=blueprint)
    upkeep(blueprint=blueprint, secrets=secrets)
    record(HARDWARE, blueprint)


def running(blueprint: Blueprint) -> Iterator[str]:
    """What runs on a host with this phase."""
    for instance in blueprint.ollama_instances:
        gpu = blueprint.gpu_of(instance)
        yield f"{instance.unit}: {instance.model} on the {gpu.model} at {gpu.bus}, port {instance.port}"
    whisper, gpu = blueprint.whisper, blueprint.gpu_of(blueprint.whisper)
    yield f"{whisper.unit}: {whisper.model} on the {gpu.model} at {gpu.bus}, {whisper.url}"

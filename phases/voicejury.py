"""Steps of voicejury alone: it needs much memory, and shares a card with Ollama (requirements 4.2 and 12)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from pyinfra.api.command import PyinfraCommand

from blueprint import Blueprint, Secrets
from blueprint.applied import Applied
from blueprint.model import OllamaInstance, Project, Service
from operations import gpu, memory
from operations.gpu import TimeSharing
from phases.cards import with_cards


def before_containers(applied: Applied, secrets: Secrets, project: Project) -> None:
    """Step 1 of the checklist: check that enough memory is free."""
    (stack,) = applied.stacks_of(project.phase)
    memory.available(
        name=f"Memory for {project.name}",
        mib=project.free_mib,
        containers=[service.name for service in stack.services],
        remedy="stop what can be spared, upgrade the machine (requirements 1.2), or leave the phase out",
    )


def after_containers(applied: Applied, secrets: Secrets, project: Project) -> None:
    """Step 7 of the checklist: try that each container with a card and the Ollama instance there take turns."""
    blueprint = applied.blueprint
    (stack,) = applied.stacks_of(project.phase)
    for service in stack.services:
        if service.unloads_model_of is not None:
            with_cards(
                name=f"Ollama {service.unloads_model_of} yields its card to {service.name} and returns",
                blueprint=blueprint,
                step=partial(_share, blueprint, service, blueprint.instance(service.unloads_model_of)),
            )


def _share(
    blueprint: Blueprint, service: Service, instance: OllamaInstance, uuids: Mapping[str, str]
) -> Iterable[PyinfraCommand]:
    timeouts = [model.timeout_s for model in blueprint.gateway.models if model.instance == instance.name]
    return gpu.time_sharing._inner(
        sharing=TimeSharing(
            port=instance.port,
            model=instance.model,
            uuid=uuids[blueprint.gpu_of(service).uuid],
            mib=service.vram_mib or 0,
            container=service.name,
            # Callers of the gateway wait that long.
            answer_s=min(timeouts, default=blueprint.thresholds.ollama_answer_s),
        ),
        state_file=f"{blueprint.paths.state}/time-sharing/{service.name}",
        lock=f"{blueprint.paths.locks}/gpu.lock",
    )

"""The speech recogniser that all projects share (requirements 4.5)."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Blueprint, contents, render
from operations import docker, files, systemd, whisper_asr
from operations.files import File
from operations.systemd import Unit
from operations.whisper_asr import Service
from phases.cards import with_cards


@deploy("shared-whisper")
def whisper(plan: Blueprint) -> None:
    """The pinned image, its unit on its card, and the model that was really loaded."""
    docker.images(name="Image of shared-whisper", references=[plan.whisper.image])
    with_cards(
        name="Unit of shared-whisper",
        plan=plan,
        step=files.tree,
        arguments=lambda uuids: {"entries": [unit(plan, uuids[plan.gpu_of(plan.whisper).uuid])]},
    )
    systemd.units(name="shared-whisper", units=[Unit(plan.whisper.unit)])
    whisper_asr.serves(name=f"shared-whisper serves {plan.whisper.model}", service=service(plan))


def service(plan: Blueprint) -> Service:
    """What has to run; requirements 4.5 saw `medium` where large-v3-turbo was configured."""
    return Service(
        container=plan.whisper.name,
        unit=plan.whisper.unit,
        port=plan.whisper.port,
        image=plan.whisper.image,
        settings=contents.whisper_environment(plan),
        gpu=plan.gpu_of(plan.whisper).uuid,
        memory_mib=plan.whisper.memory_mib,
    )


def unit(plan: Blueprint, gpu_uuid: str) -> File:
    """Its unit file, with the full UUID: the container toolkit takes no prefix."""
    return File(
        f"/etc/systemd/system/{plan.whisper.unit}",
        render(
            "whisper/shared-whisper.service.j2",
            whisper=plan.whisper,
            gpu_uuid=gpu_uuid,
            environment=contents.whisper_environment(plan),
            network=plan.coolify_network,
            scripts=plan.paths.scripts,
        ),
    )

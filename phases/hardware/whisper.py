"""shared-whisper, the speech recogniser of all projects (requirements 4.5)."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra.api.deploy import deploy

from blueprint import Blueprint, contents, render
from operations import docker, files, systemd, whisper_asr
from operations.systemd import Unit
from operations.whisper_asr import WhisperService
from phases.cards import with_cards
from specs.files import File


@deploy("shared-whisper")
def whisper(blueprint: Blueprint) -> None:
    """The pinned image, its unit on its card, and a check of the model that it loaded."""
    docker.images(name="Image of shared-whisper", references=[blueprint.whisper.image])
    with_cards(
        name="Unit of shared-whisper",
        blueprint=blueprint,
        step=lambda uuids: files.tree._inner(entries=[unit(blueprint, uuids)]),
    )
    systemd.units(name="shared-whisper", units=[Unit(blueprint.whisper.unit)])
    whisper_asr.serves(name=f"shared-whisper serves {blueprint.whisper.model}", service=service(blueprint))


def service(blueprint: Blueprint) -> WhisperService:
    """What has to run; requirements 4.5 saw `medium` where large-v3-turbo was configured."""
    return WhisperService(
        container=blueprint.whisper.name,
        unit=blueprint.whisper.unit,
        port=blueprint.whisper.port,
        image=blueprint.whisper.image,
        settings=contents.whisper_environment(blueprint),
        gpu=blueprint.gpu_of(blueprint.whisper).uuid,
        memory_mib=blueprint.whisper.memory_mib,
    )


def unit(blueprint: Blueprint, uuids: Mapping[str, str]) -> File:
    """Its unit file, with the full UUID: the container toolkit takes no prefix."""
    return File(
        f"/etc/systemd/system/{blueprint.whisper.unit}",
        render(
            "whisper/shared-whisper.service.j2",
            whisper=blueprint.whisper,
            gpu_uuid=uuids[blueprint.gpu_of(blueprint.whisper).uuid],
            environment=contents.whisper_environment(blueprint),
            network=blueprint.coolify_network,
            scripts=blueprint.paths.scripts,
        ),
    )

"""Ollama: one instance a card, each with its model resident (requirements 4.4)."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra.api.deploy import deploy

from blueprint import Blueprint, contents, render
from facts.docker import CONFIG as DAEMON
from operations import files, releases, systemd, users
from operations import ollama as instances
from operations.ollama import Placement
from operations.systemd import Unit
from phases import jobs
from phases.cards import with_cards
from phases.hardware.base import WEB_SERVER
from specs.files import Directory, Entry, File

SYSTEMD = "/etc/systemd/system"
FILTER, FILTER_RUN = "ollama-filter.service", "/run/ollama-filter"
# Limit of a request's body: the images of one question. Measured: nginx needs six times that while it answers.
BODY_MIB = 8
FILTER_MEMORY = "1G"
USER = "ollama"


@deploy("Ollama")
def ollama(blueprint: Blueprint) -> None:
    """The pinned release, the units, the filter before them, and the models, each resident on its own card."""
    stamp = f"{blueprint.paths.state}/ollama.release"
    releases.release(
        name=f"Ollama {blueprint.ollama_version}",
        url=blueprint.ollama_release.url,
        sha256=blueprint.ollama_sha256,
        owns=("bin/ollama", "lib/ollama"),
        stamp=stamp,
    )
    users.system_user(
        name="User ollama", user=USER, home=blueprint.paths.ollama_home, groups=("render", "video")
    )
    with_cards(
        name="Units and environment of the instances",
        blueprint=blueprint,
        step=lambda uuids: files.tree._inner(entries=entries(blueprint, uuids)),
    )
    systemd.units(
        name="Ollama instances",
        units=[
            # The vendor's installer enables a unit of its own on the first instance's port.
            Unit("ollama.service", masked=True),
            Unit(WEB_SERVER, masked=True),
            *(Unit(instance.unit, restart_on=(stamp,)) for instance in blueprint.ollama_instances),
            # The address of Docker's bridge may change with Docker's settings.
            Unit(FILTER, reload_on=(*(file.path for file in filter_files(blueprint)), DAEMON)),
        ],
    )
    with_cards(
        name="Models",
        blueprint=blueprint,
        step=lambda uuids: instances.models._inner(placements=placements(blueprint, uuids)),
    )
    systemd.units(
        name="Warm-up", units=[Unit(instance.warmup_unit) for instance in blueprint.ollama_instances]
    )
    with_cards(
        name="Each model is resident on its card",
        blueprint=blueprint,
        step=lambda uuids: instances.resident._inner(placements=placements(blueprint, uuids)),
    )


def entries(blueprint: Blueprint, uuids: Mapping[str, str]) -> list[Entry]:
    """Units and environment files, with full UUIDs."""
    paths = blueprint.paths
    return [
        Directory(paths.ollama_env),
        *(
            Directory(str(folder), owner=USER, group=USER)
            for folder in (paths.ollama_home, f"{paths.ollama_home}/.ollama", paths.ollama_models)
        ),
        *(
            File(
                f"{SYSTEMD}/{unit}",
                render(
                    f"ollama/{unit}.j2",
                    env_folder=paths.ollama_env,
                    home=paths.ollama_home,
                    scripts=paths.scripts,
                ),
            )
            for unit in ("ollama@.service", "ollama-warmup@.service")
        ),
        *(
            File(
                f"{paths.ollama_env}/{instance.name}.env",
                contents.ollama_environment(blueprint, instance, uuids[blueprint.gpu_of(instance).uuid]),
            )
            for instance in blueprint.ollama_instances
        ),
        *(
            File(
                f"{paths.ollama_env}/{instance.name}.warmup",
                render("ollama/warmup.env.j2", model=instance.model),
            )
            for instance in blueprint.ollama_instances
        ),
        Directory(_filter_folder(blueprint)),
        *filter_files(blueprint),
        File(
            f"{SYSTEMD}/{FILTER}",
            render(
                "ollama/ollama-filter.service.j2",
                scripts=paths.scripts,
                folder=_filter_folder(blueprint),
                run=FILTER_RUN,
                ports=" ".join(str(instance.port) for instance in blueprint.ollama_instances),
                memory=FILTER_MEMORY,
            ),
        ),
    ]


def filter_files(blueprint: Blueprint) -> list[File]:
    """Files of nginx: which requests containers may send to the instances."""
    folder = _filter_folder(blueprint)
    places = [blueprint.parallel_of(instance) + instance.max_queue for instance in blueprint.ollama_instances]
    return [
        File(
            f"{folder}/nginx.conf",
            render(
                "ollama/filter.conf.j2",
                folder=folder,
                run=FILTER_RUN,
                body_mib=BODY_MIB,
                connections=sum(places),
                burst=max(places),
                instances=[
                    {"port": instance.port, "settings": contents.ollama_filter(blueprint, instance)}
                    for instance in blueprint.ollama_instances
                ],
            ),
        ),
        File(f"{folder}/filter.js", (jobs.FILES / "ollama/filter.js").read_text()),
    ]


def _filter_folder(blueprint: Blueprint) -> str:
    return f"{blueprint.paths.ollama_env}/filter"


def placements(blueprint: Blueprint, uuids: Mapping[str, str]) -> list[Placement]:
    """The card of each instance's model."""
    return [
        Placement(
            instance.name,
            instance.port,
            instance.model,
            uuids[blueprint.gpu_of(instance).uuid],
            yields_gpu=blueprint.yields_gpu(instance),
        )
        for instance in blueprint.ollama_instances
    ]

"""Ollama: one instance a card, each with its model resident (the notes' section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyinfra.api.deploy import deploy

from blueprint import Blueprint, contents, render
from operations import files, releases, systemd, users
from operations import ollama as instances
from operations.files import Directory, Entry, File
from operations.ollama import Placement
from operations.systemd import Unit
from phases.cards import with_cards

SYSTEMD = "/etc/systemd/system"
USER = "ollama"


@deploy("Ollama")
def ollama(plan: Blueprint) -> None:
    """The pinned release, the units, the models, and each model resident on its own card."""
    stamp = f"{plan.paths.state}/ollama.release"
    releases.release(
        name=f"Ollama {plan.ollama_version}",
        url=plan.ollama_release.url,
        sha256=plan.ollama_sha256,
        owns=("bin/ollama", "lib/ollama"),
        stamp=stamp,
    )
    users.system_user(name="User ollama", user=USER, home=plan.paths.ollama_home, groups=("render", "video"))
    with_cards(
        name="Units and environment of the instances",
        plan=plan,
        step=files.tree,
        arguments=lambda uuids: {"entries": entries(plan, uuids)},
    )
    systemd.units(
        name="Ollama instances",
        units=[
            # The vendor's installer enables one of its own on the first instance's port.
            Unit("ollama.service", masked=True),
            *(Unit(instance.unit, restart_on=(stamp,)) for instance in plan.ollama_instances),
        ],
    )
    with_cards(
        name="Models", plan=plan, step=instances.models, arguments=lambda uuids: placements(plan, uuids)
    )
    systemd.units(name="Warm-up", units=[Unit(instance.warmup_unit) for instance in plan.ollama_instances])
    with_cards(
        name="Each model is resident on its card",
        plan=plan,
        step=instances.resident,
        arguments=lambda uuids: placements(plan, uuids),
    )


def entries(plan: Blueprint, uuids: Mapping[str, str]) -> list[Entry]:
    """Units and environment files, with full UUIDs."""
    paths = plan.paths
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
                contents.ollama_environment(plan, instance, uuids[plan.gpu_of(instance).uuid]),
            )
            for instance in plan.ollama_instances
        ),
        *(
            File(
                f"{paths.ollama_env}/{instance.name}.warmup",
                render("ollama/warmup.env.j2", model=instance.model),
            )
            for instance in plan.ollama_instances
        ),
    ]


def placements(plan: Blueprint, uuids: Mapping[str, str]) -> dict[str, Any]:
    """Where each model has to live, as an operation's arguments."""
    return {
        "placements": [
            Placement(
                instance.name,
                instance.port,
                instance.model,
                uuids[plan.gpu_of(instance).uuid],
                gives_way=plan.gives_way(instance),
            )
            for instance in plan.ollama_instances
        ]
    }

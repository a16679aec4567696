"""The hardware upgrade of requirements 12, phase 0: everything saved and stopped, and after the boot started again.

`--data upgrade_to=PROFILE` starts one, with a marker on the host: a file named after the profile. The next run, with
that profile, verifies the new machine, as any run does, retunes and starts everything, and removes the marker. `--data
upgrade_to=` with the profile that the machine still has abandons the upgrade.
"""

from __future__ import annotations

from collections.abc import Collection

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from blueprint import Blueprint
from blueprint.applied import Applied
from blueprint.names import KUMA
from facts.folder import Names
from operations import backup, containers, files, notices, systemd
from operations.checks import report
from operations.systemd import Unit
from phases.backup import saving
from specs.files import Absent, Directory, File
from specs.problems import Problem

CRON = "cron.service"


def folder(blueprint: Blueprint) -> str:
    """Folder of the host with the marker of a pending upgrade."""
    return f"{blueprint.paths.state}/upgrade"


def pending(blueprint: Blueprint) -> str | None:
    """The profile to which the current host is being upgraded."""
    names: list[str] = host.get_fact(Names, folder=folder(blueprint))
    return names[0] if names else None


def starts(blueprint: Blueprint, pending: str | None) -> bool:
    """Whether the run starts an upgrade, and does nothing else.

    :param pending: profile to which the host is being upgraded
    :raises DeployError: another upgrade is pending than the one that this run is for
    """
    profile, target = blueprint.hardware_profile, blueprint.upgrade_to
    starting = target not in ("", profile)
    abandoned = target == profile
    if pending is not None and pending != (target if starting else profile) and not abandoned:
        raise DeployError(report("nothing was changed", [_other_pending(profile, pending)]))
    return starting


def _other_pending(profile: str, pending: str) -> Problem:
    return Problem(
        f"upgrade to {pending}",
        f"pending on this host: everything was stopped for it, and this run is for {profile}",
        f"a run for {pending}, or the end of the upgrade",
        f"hardware_profile: {pending} in production.yaml (or --data hardware_profile={pending}) once the machine has "
        f"it; or abandon the upgrade with --data upgrade_to={profile}",
    )


@deploy("Hardware upgrade")
def start(applied: Applied, pending: str | None) -> None:
    """Save everything, stop it in order, and report what a person does next; run again, it stops what runs.

    :param pending: profile to which the host is being upgraded: everything is saved then, and stopped
    """
    blueprint = applied.blueprint
    target = blueprint.upgrade_to
    whole = saving(applied)
    if pending is None and (pieces := sorted({piece for some in whole.pieces.values() for piece in some})):
        backup.fresh(name="Full backup, read back", pieces=pieces, command=whole.command, root=whole.root)
    text = f"from {blueprint.hardware_profile}\n"
    files.tree(
        name=f"Marker of the upgrade to {target}",
        entries=[Directory(folder(blueprint), mode="0700"), File(f"{folder(blueprint)}/{target}", text)],
    )
    # Jobs that watch, repair and back up stop first: they would start stopped services again, or alert the owner.
    systemd.units(name="Cron is stopped", units=[Unit(CRON, enabled=None, running=False)])
    containers.stopped(name="Containers are stopped, in order", containers=stop_order(applied))
    systemd.units(
        name="Whisper and Ollama are stopped",
        units=[
            Unit(unit, enabled=None, running=False)
            for unit in (blueprint.whisper.unit, *(instance.unit for instance in blueprint.ollama_instances))
        ],
    )
    notices.notify(name="Next steps of a person", lines=instructions(target))


def stop_order(applied: Applied) -> list[str]:
    """Names of all containers: Uptime Kuma first, as it would alert the owner, and each before those it depends on."""
    names = [service.name for service in reversed(applied.services)]
    return sorted(names, key=lambda name: name != KUMA)


def instructions(target: str) -> list[str]:
    """Steps 4 and 5 of the phase, and how to go on."""
    return [
        f"everything is saved and stopped for the upgrade to {target}; now, in this order:",
        "  systemctl poweroff, and install processor and memory",
        f"  hardware_profile: {target} for this host in production.yaml",
        "  boot, and run the same without upgrade_to: it verifies the machine, retunes and starts everything",
    ]


@deploy("End of the hardware upgrade")
def finish(blueprint: Blueprint, profile: str, stopped: Collection[str]) -> None:
    """Remove the marker once everything runs again.

    :param profile: what the upgrade was to
    :param stopped: phases that the host has and this run did not apply: their containers are still stopped
    """
    systemd.units(name="Cron runs again", units=[Unit(CRON, enabled=None)])
    if stopped:
        text = f"still stopped for the upgrade: --data phase={','.join(sorted(stopped))}"
        notices.notify(name="Phases that are still stopped", lines=[text])
        return
    files.tree(name=f"The upgrade to {profile} is done", entries=[Absent(f"{folder(blueprint)}/{profile}")])

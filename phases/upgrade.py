"""The hardware upgrade of requirements 12, phase 0: everything saved and stopped, and after the boot started again.

`--data upgrade_to=PROFILE` begins one. It leaves a mark on the host, a file named as the profile. The next run, with
that profile, verifies what the machine has become, as any run does, retunes and starts everything, and takes away the
mark. `--data upgrade_to=` with the profile that the machine still has gives the upgrade up.
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
from operations.checks import Problem, report
from operations.files import Absent, Directory, File
from operations.systemd import Unit
from phases.backup import saving

CRON = "cron.service"


def folder(blueprint: Blueprint) -> str:
    """Where a host keeps the mark of an upgrade that is under way."""
    return f"{blueprint.paths.state}/upgrade"


def marked(blueprint: Blueprint) -> str | None:
    """The profile to which the current host is being upgraded."""
    names: list[str] = host.get_fact(Names, folder=folder(blueprint))
    return names[0] if names else None


def begins(blueprint: Blueprint, mark: str | None) -> bool:
    """Whether the run is for beginning an upgrade, and for nothing else.

    :raises DeployError: one is under way, and this run is for another profile
    """
    now, wanted = blueprint.hardware_profile, blueprint.upgrade_to
    if wanted not in ("", now):
        if mark not in (None, wanted):
            raise DeployError(report("nothing was changed", [_under_way(now, mark or "")]))
        return True
    if mark not in (None, now) and wanted != now:
        raise DeployError(report("nothing was changed", [_under_way(now, mark or "")]))
    return False


def _under_way(now: str, mark: str) -> Problem:
    return Problem(
        f"upgrade to {mark}",
        f"under way on this host: everything was stopped for it, and this run is for {now}",
        f"a run for {mark}, or the end of it",
        f"hardware_profile: {mark} in production.yaml (or --data hardware_profile={mark}) once the machine is that; "
        f"or give it up with --data upgrade_to={now}",
    )


@deploy("Hardware upgrade")
def begin(blueprint: Blueprint, applied: Applied, mark: str | None) -> None:
    """Save everything, stop it in order, and say what a person does now; run again, it stops what runs."""
    to = blueprint.upgrade_to
    # Marked, it is saved already, and what is stopped cannot be.
    if mark is None and (pieces := _everything(applied)):
        whole = saving(applied)
        backup.fresh(name="Full backup, read back", pieces=pieces, command=whole.command, root=whole.root)
    text = f"from {blueprint.hardware_profile}\n"
    files.tree(
        name=f"Mark of the upgrade to {to}",
        entries=[Directory(folder(blueprint), mode="0700"), File(f"{folder(blueprint)}/{to}", text)],
    )
    # Jobs that watch, repair and save come first: they would start again what is stopped, or tell of it.
    systemd.units(name="Cron is stopped", units=[Unit(CRON, enabled=None, running=False)])
    containers.stopped(name="Containers are stopped, in order", containers=stop_order(applied))
    systemd.units(
        name="Whisper and Ollama are stopped",
        units=[
            Unit(unit, enabled=None, running=False)
            for unit in (blueprint.whisper.unit, *(instance.unit for instance in blueprint.ollama_instances))
        ],
    )
    notices.notify(name="What to do now", lines=instructions(to))


def _everything(applied: Applied) -> list[str]:
    return sorted({piece for pieces in saving(applied).pieces.values() for piece in pieces})


def stop_order(applied: Applied) -> list[str]:
    """Names of all containers: who would tell of the others first, and each before those that it needs."""
    names = [service.name for service in reversed(applied.services)]
    return sorted(names, key=lambda name: name != KUMA)


def instructions(to: str) -> list[str]:
    """Steps 4 and 5 of the phase, and how to go on."""
    return [
        f"everything is saved and stopped for the upgrade to {to}; now, in this order:",
        "  systemctl poweroff, and install processor and memory",
        f"  hardware_profile: {to} for this host in production.yaml",
        "  boot, and run the same without upgrade_to: it verifies the machine, retunes and starts everything",
    ]


@deploy("End of the hardware upgrade")
def finish(blueprint: Blueprint, mark: str, left: Collection[str]) -> None:
    """Take the mark away once everything runs again.

    :param mark: profile that the upgrade was for
    :param left: names of phases that the host has and this run did not bring: their containers are stopped still
    """
    systemd.units(name="Cron runs again", units=[Unit(CRON, enabled=None)])
    if left:
        names = ",".join(sorted(left))
        notices.notify(name="What is left", lines=[f"stopped for the upgrade still: --data phase={names}"])
        return
    files.tree(name=f"The upgrade to {mark} is done", entries=[Absent(f"{folder(blueprint)}/{mark}")])

"""Backups of a host: scripts, settings, logins and cron jobs (requirements 5.5)."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from blueprint import Blueprint, Secrets, backup
from blueprint.applied import Applied
from blueprint.phases import LITELLM
from operations import apt, files
from operations import backup as operation
from operations.backup import Saving
from phases import jobs
from specs.files import Directory, Entry, File

SCRIPTS = (
    "backup/backup-clickhouse.sh",
    "backup/backup-databases.sh",
    "backup/backup-list.sh",
    "backup/backup-now.sh",
    "backup/backup-restore-test.sh",
    "backup/restore.sh",
    "common/configuration.py",
    "common/containers.py",
)
PACKAGE = jobs.FILES / "backup" / "backups"


@deploy("Backups")
def backups(applied: Applied, secrets: Secrets) -> None:
    """Install the backups before the containers: a container with data is recreated only after a backup of it.

    Every phase calls this with the services that the host has by then.
    """
    if applied.blueprint.backups.restic:
        apt.packages(name="restic", present=["restic"])
    files.tree(name="Scripts, settings and jobs of the backups", entries=entries(applied, secrets))


def first_backup(applied: Applied) -> None:
    """Back up everything that has no backup yet."""
    how = saving(applied)
    operation.first(
        name="First backups",
        pieces=backup.all_pieces(applied),
        command=how.command,
        root=how.root,
    )


def provided_secrets(blueprint: Blueprint) -> list[str]:
    """Secrets that others issue and that the backups need: the keys of the remote copy."""
    return sorted(blueprint.backups.restic.environment.values()) if blueprint.backups.restic else []


def saving(applied: Applied) -> Saving:
    """How to back up the data of the host's containers, before a step that could lose it."""
    blueprint = applied.blueprint
    return Saving(f"{blueprint.paths.scripts}/backup-now.sh", blueprint.backups.root, backup.held(applied))


def entries(applied: Applied, secrets: Secrets) -> list[Entry]:
    """All files of the backups."""
    blueprint = applied.blueprint
    config, scripts = blueprint.paths.config, blueprint.paths.scripts
    logins = backup.logins(applied, secrets.generated)
    return [
        Directory(f"{scripts}/{PACKAGE.name}"),
        *jobs.scripts(blueprint, SCRIPTS),
        *(
            File(f"{scripts}/{PACKAGE.name}/{path.name}", path.read_text())
            for path in sorted(PACKAGE.glob("*.py"))
        ),
        File(f"{config}/{backup.SETTINGS}", backup.settings_json(applied, host.name), mode="0600"),
        File(f"{config}/{backup.CREDENTIALS}", backup.credentials_json(logins), mode="0600", secret=True),
        *_copy(blueprint, secrets),
        *jobs.cron(blueprint, LITELLM),
    ]


def _copy(blueprint: Blueprint, secrets: Secrets) -> list[Entry]:
    restic = blueprint.backups.restic
    if restic is None:
        return []
    password = File(
        f"{blueprint.paths.config}/{backup.RESTIC_PASSWORD}",
        f"{secrets.generated('restic/password')}\n",
        mode="0600",
        secret=True,
    )
    if not restic.environment:
        return [password]
    variables = {variable: secrets.provided(name) for variable, name in restic.environment.items()}
    text = "".join(f"{variable}={value}\n" for variable, value in variables.items())
    path = f"{blueprint.paths.config}/{backup.RESTIC_ENVIRONMENT}"
    return [password, File(path, text, mode="0600", secret=True)]

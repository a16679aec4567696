"""The watch over everything that has a limit (requirements 10.4), and the first message to the owner."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from blueprint import Secrets, backup
from blueprint import watch as declared
from blueprint.applied import Applied
from blueprint.phases import MONITORING
from operations import files, telegram
from phases import jobs
from phases.hardware.upkeep import telegram_ini
from specs.files import Entry, File

SCRIPTS = (
    "common/configuration.py",
    "common/containers.py",
    "watch/watch.py",
    "watch/watch.sh",
    "watch/watch_checks.py",
    "watch/watch_containers.py",
    "watch/watch_host.py",
    "watch/watch_model.py",
)


@deploy("Watch")
def watch(applied: Applied, secrets: Secrets) -> None:
    """Deploy the watch over everything that the host has by then, and send the first message to the owner."""
    paths = applied.blueprint.paths
    files.tree(name="Script, settings and jobs of the watch", entries=entries(applied, secrets))
    telegram.test_message(
        name="Test message on Telegram",
        command=[f"{paths.scripts}/watch.sh", "--test-message"],
        credentials=telegram_ini(secrets),
        stamp=f"{paths.state}/telegram-tested",
    )


def entries(applied: Applied, secrets: Secrets) -> list[Entry]:
    """All files of the watch."""
    config = applied.blueprint.paths.config
    logins = declared.logins(applied, secrets.generated)
    return [
        *jobs.scripts(applied.blueprint, SCRIPTS),
        File(f"{config}/{declared.SETTINGS}", declared.settings_json(applied, host.name), mode="0600"),
        File(f"{config}/{declared.CREDENTIALS}", backup.credentials_json(logins), mode="0600", secret=True),
        *jobs.cron(applied.blueprint, MONITORING),
    ]

"""The watch over everything that has a limit (requirements 10.4), and the first message to the owner."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from blueprint import Secrets, backup
from blueprint import watch as declared
from blueprint.given import Given
from blueprint.phases import MONITORING
from operations import files, telegram
from operations.files import Entry, File
from phases import jobs
from phases.hardware.upkeep import telegram_ini

SCRIPTS = ("common/configuration.py", "common/containers.py", "watch/watch.py", "watch/watch.sh")


@deploy("Watch")
def watch(given: Given, secrets: Secrets) -> None:
    """What is measured is what the host has by then; so every phase that follows brings it, too."""
    paths = given.blueprint.paths
    files.tree(name="Script, settings and jobs of the watch", entries=entries(given, secrets))
    telegram.test_message(
        name="Test message on Telegram",
        command=[f"{paths.scripts}/watch.sh", "--test-message"],
        credentials=telegram_ini(secrets),
        stamp=f"{paths.state}/telegram-tested",
    )


def entries(given: Given, secrets: Secrets) -> list[Entry]:
    """Everything of the watch that is a file."""
    config = given.blueprint.paths.config
    logins = declared.logins(given, secrets.generated)
    return [
        *jobs.scripts(given.blueprint, SCRIPTS),
        File(f"{config}/{declared.SETTINGS}", declared.settings_json(given, host.name), mode="0600"),
        File(f"{config}/{declared.CREDENTIALS}", backup.credentials_json(logins), mode="0600", secret=True),
        *jobs.cron(given.blueprint, MONITORING),
    ]

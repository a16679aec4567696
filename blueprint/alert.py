"""Destination of the alerts of a host's scripts."""

from __future__ import annotations

from blueprint.model import Paths

TELEGRAM_API = "https://api.telegram.org"


def telegram_file(paths: Paths) -> str:
    """The private file with the bot's token and the chat."""
    return f"{paths.config}/telegram.ini"


def alert(paths: Paths, host: str) -> dict[str, str]:
    """Settings of a script's alerts, as files/common/incidents.py reads them.

    :param host: name of the host in messages
    """
    return {"host": host, "telegram": telegram_file(paths), "telegram_api": TELEGRAM_API}

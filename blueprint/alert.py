"""Where the scripts of a host tell of what is wrong."""

from __future__ import annotations

from blueprint.model import Paths

TELEGRAM_API = "https://api.telegram.org"


def telegram_file(paths: Paths) -> str:
    """The private file with the bot's token and the chat."""
    return f"{paths.config}/telegram.ini"


def alert(paths: Paths, host: str) -> dict[str, str]:
    """What every script's settings say of it, as files/common/incidents.py reads it.

    :param host: how the host is called in messages
    """
    return {"host": host, "telegram": telegram_file(paths), "telegram_api": TELEGRAM_API}

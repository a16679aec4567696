"""Declared monitors of Uptime Kuma, with the settings that it calls them by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_DESCRIPTION = "Declared by {owner}: changes made here are undone"


@dataclass(frozen=True)
class HttpCheck:
    """Up while a URL answers with a status of 200 to 299.

    :param url: as a container on Uptime Kuma's network reaches it
    :param timeout_s: how long an answer may take
    """

    url: str
    timeout_s: int = 30

    def settings(self) -> dict[str, Any]:
        """As Uptime Kuma calls it."""
        return {
            "type": "http",
            "url": self.url,
            "method": "GET",
            "timeout": self.timeout_s,
            "accepted_statuscodes": ["200-299"],
        }


@dataclass(frozen=True)
class TcpCheck:
    """Up while a TCP port accepts connections."""

    hostname: str
    port: int

    def settings(self) -> dict[str, Any]:
        """As Uptime Kuma calls it."""
        return {"type": "port", "hostname": self.hostname, "port": self.port}


@dataclass(frozen=True)
class RedisCheck:
    """Up while Redis answers PING.

    :param connection: "redis://user:password@host:6379", percent-encoded
    """

    connection: str = field(repr=False)

    def settings(self) -> dict[str, Any]:
        """As Uptime Kuma calls it."""
        return {"type": "redis", "databaseConnectionString": self.connection}


@dataclass(frozen=True)
class PushCheck:
    """Up while something calls `/api/push/<token>` at least once an interval.

    :param token: letters, digits, - and _; at most 32, which is what its column holds
    """

    token: str = field(repr=False)

    def settings(self) -> dict[str, Any]:
        """As Uptime Kuma calls it."""
        return {"type": "push", "pushToken": self.token}


@dataclass(frozen=True)
class KumaMonitor:
    """A monitor with what it asks, secrets included.

    :param name: among those of its owner, no other has it
    :param check: what it tries
    :param interval_s: seconds from one try to the next
    :param retries: failures that are only pending before it counts as down
    :param retry_interval_s: seconds between these
    """

    name: str
    check: HttpCheck | TcpCheck | RedisCheck | PushCheck
    interval_s: int = 60
    retries: int = 2
    retry_interval_s: int = 20

    def settings(self, owner: str) -> dict[str, Any]:
        """As Uptime Kuma calls it."""
        return {
            "name": self.name,
            "description": _DESCRIPTION.format(owner=owner),
            "interval": self.interval_s,
            "maxretries": self.retries,
            "retryInterval": self.retry_interval_s,
            **self.check.settings(),
        }


@dataclass(frozen=True)
class TelegramNotification:
    """A chat that is notified when a monitor goes down or comes back; new monitors, a person's too, use it by default.

    :param name: how Uptime Kuma lists it; one of that name is taken for ours
    :param token: of the bot
    :param chat: id of the chat
    """

    name: str
    token: str = field(repr=False)
    chat: str = field(repr=False)

    def settings(self) -> dict[str, Any]:
        """As Uptime Kuma calls it."""
        return {
            "name": self.name,
            "type": "telegram",
            "isDefault": True,
            "telegramBotToken": self.token,
            "telegramChatID": self.chat,
        }

"""The monitors and notifications of an Uptime Kuma, as its socket API lists them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from facts import script

# Run by node in a container of Uptime Kuma's image; operations/uptime_kuma.py sends it, too.
PROGRAM = Path(__file__).resolve().parent.parent / "files" / "uptime-kuma" / "client.js"
STATUS = {0: "down", 1: "up", 2: "pending", 3: "in maintenance", None: "not tried yet"}


@dataclass(frozen=True)
class MonitorState:
    """A monitor.

    :param settings: those that a declaration can set, by Uptime Kuma's names; secret ones as sha256 of their value
    :param active: not paused
    :param notifications: ids of those that it uses
    :param status: key of `STATUS`; None where it has had no heartbeat yet
    :param message: text of its last heartbeat
    """

    id: int
    name: str
    description: str = ""
    active: bool = True
    notifications: frozenset[int] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    status: int | None = None
    message: str | None = None


@dataclass(frozen=True)
class NotificationState:
    """A way to be notified. `settings` as in `MonitorState`."""

    id: int
    name: str
    active: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Logins:
    """Who may log in.

    :param users: their names; each may do everything
    :param api_keys: names of keys, which read its metrics
    :param open: nobody has to log in
    """

    users: tuple[str, ...]
    api_keys: tuple[str, ...] = ()
    open: bool = False


@dataclass(frozen=True)
class KumaState:
    """Answer of `Kuma`.

    :param absent: no such container runs, or none that answers
    :param setup: it was never set up: no administrator, no monitors
    :param refused: why the login was, or None
    :param logins: None where its database cannot be read
    """

    absent: bool = False
    setup: bool = False
    refused: str | None = None
    monitors: tuple[MonitorState, ...] = ()
    notifications: tuple[NotificationState, ...] = ()
    logins: Logins | None = None


class Kuma(FactBase[KumaState]):
    """Everything in one question. The login goes on standard input: `_stdin=[login(…)]` with the other arguments.

    :param container: in which it runs
    :param required: it has to answer, or the fact fails; otherwise one that does not is as one that does not run
    """

    def command(self, container: str, required: bool = True) -> StringCommand:
        """The script and its arguments."""
        return script.command("uptime-kuma.sh", container, PROGRAM.read_text(), "yes" if required else "no")

    @staticmethod
    def default() -> KumaState:
        """No Uptime Kuma."""
        return KumaState(absent=True)

    def process(self, output: list[str]) -> KumaState:
        """Read the answer of `command`."""
        return read(output)


class MaskedInput(str):
    """Text for a standard input. pyinfra logs the arguments of a fact, with `-v`; this one it shows as a mask."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'*MASKED*'"


def login(username: str, password: str) -> MaskedInput:
    """What `Kuma` reads on its standard input: who asks, and that heartbeats and logins are wanted, too."""
    return MaskedInput(json.dumps({"username": username, "password": password, "beats": True}))


def read(output: Iterable[str]) -> KumaState:
    """Read what files/uptime-kuma/client.js prints."""
    text = "\n".join(output)
    try:
        answer = json.loads(text)
        return KumaState(
            absent=answer.get("absent", False),
            setup=answer.get("setup", False),
            refused=answer.get("refused"),
            monitors=tuple(
                MonitorState(**{**monitor, "notifications": frozenset(monitor["notifications"])})
                for monitor in answer.get("monitors", ())
            ),
            notifications=tuple(NotificationState(**each) for each in answer.get("notifications", ())),
            logins=_logins(answer.get("logins")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FactProcessError(f"not an answer of Uptime Kuma: {text[:200]!r}") from error


def _logins(answer: Mapping[str, Any] | None) -> Logins | None:
    if answer is None:
        return None
    return Logins(tuple(answer["users"]), tuple(answer["apiKeys"]), bool(answer["open"]))

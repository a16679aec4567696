"""Incidents of the host: the owner is notified on Telegram once when one begins and once when it is over.

A message that cannot be sent stays in an outbox that all scripts of the host share, and the next run of any of them
sends it: while Telegram is down, nothing is lost and nothing stops. The bot's token is read from a private file and
sent only to Telegram.
"""

from __future__ import annotations

import configparser
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

KEPT_MESSAGES = 50
# Telegram refuses more than 4096 units of UTF-16, and a refused message would hold up all that follow.
MAX_CHARACTERS = 2000
OUTBOX = "untold"  # the name of a file on deployed hosts


class ConfigurationError(Exception):
    """A setting that is missing or makes no sense."""


def log(text: str) -> None:
    """A line of the script's log, which cron keeps. Where that cannot be written, the rest of the script goes on."""
    try:
        sys.stdout.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")
        sys.stdout.flush()
    except (
        OSError
    ):  # its disk is full, which is what the owner has to know; Python would try again at the end
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the script runs


def write_json(path: Path, value: Any) -> None:
    """Replace a private file whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with private(new) as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def private(path: Path) -> TextIO:
    """A new file that only its owner can read, from its first byte."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")


def address(text: str) -> str:
    """:raises ValueError: for no address of the web"""
    if not text.startswith(("https://", "http://")):
        raise ValueError(f"{text!r} is no address that begins with https://")
    return text.rstrip("/")


@dataclass(frozen=True)
class Telegram:
    """Where messages go.

    `host`: name of the host in messages. `credentials`: the private file with the bot's token and the chat. `api`:
    address of Telegram. `folder`: where the outbox is. `unsaved`: messages that could not be put there.
    """

    host: str
    credentials: Path
    api: str
    folder: Path
    unsaved: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Mapping[str, str], folder: Path) -> Telegram:
        """From the settings of a script, which have the same keys in all scripts.

        :raises KeyError, ValueError: a key is missing or its value makes no sense
        """
        return cls(settings["host"], Path(settings["telegram"]), address(settings["telegram_api"]), folder)

    def post(self, sign: str, text: str) -> None:
        """Put a message into the outbox."""
        message = f"{sign} {self.host} {time.strftime('%H:%M')}: {text}"
        if len(message) > MAX_CHARACTERS:
            message = message[: MAX_CHARACTERS - 1] + "…"
        with self._lock():
            if not self._save([*self._read(), message][-KEPT_MESSAGES:]):
                self.unsaved.append(message)

    def send(self) -> bool:
        """Send the messages of the outbox, oldest first, until one does not get through. True when it is empty."""
        with self._lock():
            saved = self._read()
            if not saved and not self.unsaved:
                return True
            parser = configparser.ConfigParser(interpolation=None)
            try:
                with self.credentials.open() as file:
                    parser.read_file(file)
                token, chat = parser["telegram"]["token"], parser["telegram"]["chat"]
            except (OSError, configparser.Error, KeyError) as error:
                log(f"not sent: {self.credentials}: {type(error).__name__}")  # its text could quote the file
                return False
            while messages := saved or self.unsaved:
                if not _send(self.api, token, chat, messages[0]):
                    return False
                del messages[0]
                if messages is saved:
                    self._save(saved)
            return True

    @property
    def _outbox(self) -> Path:
        return self.folder / OUTBOX

    def _lock(self) -> _Lock:
        return _Lock(self.folder / f"{OUTBOX}.lock")

    def _save(self, messages: list[str]) -> bool:
        """Whether the outbox could be written: the disk that is full may be its own."""
        try:
            write_json(self._outbox, messages)
        except OSError as error:
            log(f"not saved: {self._outbox}: {error}")
            return False
        return True

    def _read(self) -> list[str]:
        try:
            return [str(text) for text in json.loads(self._outbox.read_text())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            log(f"unreadable outbox, its messages are lost: {self._outbox}: {error}")
            return []


class _Lock:
    """One script at a time: two that send at once would send every message twice."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = private(path)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _send(api: str, token: str, chat: str, text: str) -> bool:
    """https://core.telegram.org/bots/api#sendmessage"""
    # Imported by the few runs that have something to send: it takes as long as everything else at their start.
    import http.client
    import urllib.error
    import urllib.request

    request = urllib.request.Request(  # noqa: S310 - its scheme was checked when the settings were read
        f"{api}/bot{token}/sendMessage",
        data=json.dumps({"chat_id": chat, "text": text}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:  # noqa: S310 - likewise
            answer: Any = json.load(reply)
        if isinstance(answer, dict) and answer.get("ok") is True:
            return True
        reason = "an answer without ok"
    except urllib.error.HTTPError as error:
        reason = f"{error.code} {error.reason}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = type(error).__name__  # the text of some errors has the address, and with it the token
    log(f"not sent, Telegram answered: {reason}; the next run tries again")
    return False


@dataclass
class Incidents:
    """The open incidents of one script, and what the script remembers from run to run.

    `open`: text of each incident by its key. `notes`: whatever the script counts.
    """

    path: Path
    telegram: Telegram
    open: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, telegram: Telegram) -> Incidents:
        """The state that the last run wrote. Without a readable one, no incident is open: each begins again."""
        try:
            state = json.loads(path.read_text())
            return cls(path, telegram, dict(state["incidents"]), dict(state["notes"]))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            log(f"unreadable state, starting without it: {path}: {error!r}")
        return cls(path, telegram)

    def update(
        self,
        current: Mapping[str, str],
        unknown: Iterable[str] = (),
        repair: Callable[[str], str] = lambda key: "",
    ) -> None:
        """Begin and end incidents, and put their messages into the outbox.

        `current`: text of each incident by its key. `unknown`: keys of incidents that stay as they are, because nothing
        could be measured. `repair`: called with the key of each incident that begins; what it returns is added to the
        message.
        """
        current = {key: self.open[key] for key in unknown if key in self.open} | dict(current)
        over = [key for key in self.open if key not in current]
        for key, text in current.items():
            if key not in self.open:
                self.open[key] = text
                self._notify("🔴", text + repair(key))
        for key in over:
            self._notify("🟢", f"over: {self.open.pop(key)}")

    def close(self) -> bool:
        """Save the state, then send the messages. True when the outbox is empty.

        In that order: after a run that was killed while it sent, the same incidents must not begin again.
        """
        try:
            write_json(self.path, {"incidents": self.open, "notes": self.notes})
        except OSError as error:  # better a message in each run than none
            log(f"not saved: {self.path}: {error}")
        return self.telegram.send()

    def _notify(self, sign: str, text: str) -> None:
        log(text)
        self.telegram.post(sign, text)

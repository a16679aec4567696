"""Incidents of the host: told on Telegram once when they begin and once when they are over.

What cannot be told is kept in an outbox that all scripts of the host share, and told by whichever of them runs next:
Telegram being down loses nothing and stops nothing. The bot's token is read from a private file and only ever sent to
Telegram.
"""

from __future__ import annotations

import configparser
import fcntl
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

KEPT_MESSAGES = 50
# Telegram refuses more than 4096 units of UTF-16, and what it refuses would hold up everything after it.
LONGEST = 2000
OUTBOX = "untold"


class ConfigurationError(Exception):
    """A setting that is missing or makes no sense."""


def log(text: str) -> None:
    """A line of the script's log, which cron keeps."""
    sys.stdout.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")
    sys.stdout.flush()


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
    """A new file that only its owner reads, from its first byte."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")


def address(text: str) -> str:
    """:raises ValueError: for no address of the web"""
    if not text.startswith(("https://", "http://")):
        raise ValueError(f"{text!r} is no address that begins with https://")
    return text.rstrip("/")


@dataclass(frozen=True)
class Telegram:
    """Where messages go.

    `host` is how the host is called in them, `credentials` the private file with the bot's token and the chat, `api`
    where the bot lives, `folder` where the outbox is.
    """

    host: str
    credentials: Path
    api: str
    folder: Path

    @classmethod
    def of(cls, said: Mapping[str, str], folder: Path) -> Telegram:
        """From a script's settings, which all say it in the same words.

        :raises KeyError, ValueError: they do not
        """
        return cls(said["host"], Path(said["telegram"]), address(said["telegram_api"]), folder)

    def post(self, sign: str, text: str) -> None:
        """Put a message into the outbox."""
        message = f"{sign} {self.host} {time.strftime('%H:%M')}: {text}"
        if len(message) > LONGEST:
            message = message[: LONGEST - 1] + "…"
        with self._outbox():
            write_json(self._untold, [*self._read(), message][-KEPT_MESSAGES:])

    def send(self) -> bool:
        """Send what has not been told, oldest first, until one does not get through. True when nothing is left."""
        with self._outbox():
            untold = self._read()
            if not untold:
                return True
            parser = configparser.ConfigParser(interpolation=None)
            try:
                with self.credentials.open() as file:
                    parser.read_file(file)
                token, chat = parser["telegram"]["token"], parser["telegram"]["chat"]
            except (OSError, configparser.Error, KeyError) as error:
                log(f"not told: {self.credentials}: {type(error).__name__}")  # its text could quote the file
                return False
            while untold:
                if not _send(self.api, token, chat, untold[0]):
                    return False
                del untold[0]
                write_json(self._untold, untold)
            return True

    @property
    def _untold(self) -> Path:
        return self.folder / OUTBOX

    def _outbox(self) -> _Lock:
        return _Lock(self.folder / f"{OUTBOX}.lock")

    def _read(self) -> list[str]:
        try:
            return [str(text) for text in json.loads(self._untold.read_text())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            log(f"forgot what was untold: {self._untold}: {error}")
            return []


class _Lock:
    """One script at a time: two that send would send everything twice."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = private(path)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _send(api: str, token: str, chat: str, text: str) -> bool:
    """https://core.telegram.org/bots/api#sendmessage"""
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
        said = "an answer without ok"
    except urllib.error.HTTPError as error:
        said = f"{error.code} {error.reason}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        said = type(error).__name__  # the text of some of them has the address, and with it the token
    log(f"not told, Telegram said: {said}; trying again at the next run")
    return False


@dataclass
class Incidents:
    """What is wrong at the moment, as one script sees it, and what it remembers from run to run.

    `open`: text of each incident by its key. `notes`: whatever the script counts.
    """

    path: Path
    telegram: Telegram
    open: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, telegram: Telegram) -> Incidents:
        """What the last run left; nothing where there was none, or where it cannot be read (it is told again then)."""
        try:
            said = json.loads(path.read_text())
            return cls(path, telegram, dict(said["incidents"]), dict(said["notes"]))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            log(f"forgot everything: {path}: {error!r}")
        return cls(path, telegram)

    def update(
        self,
        wrong: Mapping[str, str],
        unseen: Iterable[str] = (),
        mend: Callable[[str], str] = lambda key: "",
    ) -> None:
        """Begin and end incidents, and put their messages into the outbox.

        `unseen`: keys that could not be looked at, which stay as they were. `mend` is called for each incident that
        begins; what it says it did goes into the message.
        """
        wrong = {key: self.open[key] for key in unseen if key in self.open} | dict(wrong)
        over = [key for key in self.open if key not in wrong]
        for key, text in wrong.items():
            if key not in self.open:
                self.open[key] = text
                self._tell("🔴", text + mend(key))
        for key in over:
            self._tell("🟢", f"over: {self.open.pop(key)}")

    def close(self) -> bool:
        """Keep what is known, then send. True when nothing is left to tell.

        In that order: a run that is killed while it sends must not begin the same incidents again.
        """
        write_json(self.path, {"incidents": self.open, "notes": self.notes})
        return self.telegram.send()

    def _tell(self, sign: str, text: str) -> None:
        log(text)
        self.telegram.post(sign, text)

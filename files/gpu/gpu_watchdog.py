#!/usr/bin/env python3
"""GPU watchdog: looks once, mends what it can, and tells the owner what began and what is over.

Looked for: the driver not answering, a card missing, a driver error (Xid), memory of a card nearly full, an Ollama
instance that does not answer (its unit is restarted, once per incident).

Each incident is told once when it begins and once when it is over (incidents.py, beside this file).

Exit status: 0 done, 1 something is left to tell, 2 wrong configuration.
"""

from __future__ import annotations

import argparse
import configparser
import http.client
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from incidents import ConfigurationError, Incidents, Telegram, log

CONFIG = "/etc/sourcefast/gpu-watchdog.ini"
NVIDIA_SMI_S = 60  # a card that hangs makes nvidia-smi hang
RESTART_S = 180  # longer than a unit waits for its card
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
XID = re.compile(r"NVRM: Xid \(PCI:(?P<bus>[0-9a-fA-F:.]+)\): (?P<code>\d+)(?:, )?(?P<text>.*)")


@dataclass(frozen=True)
class Card:
    """A card that has to be there."""

    uuid: str
    name: str
    bus: str

    def __str__(self) -> str:
        return f"{self.name} at {self.bus} ({self.uuid[:12]})"


@dataclass(frozen=True)
class Instance:
    """A server that has to answer, and the card it computes on."""

    name: str
    port: int
    unit: str
    gpu: str


@dataclass(frozen=True)
class Config:
    """What is watched and how.

    `vram_runs` is the number of runs in a row that a card has to be above `vram_percent`: a model being exchanged fills
    it for moments. `xid_quiet_min` is how long no further error may come before one is over. `answer_s` is how long an
    instance may take.
    """

    state: Path
    vram_percent: int
    vram_runs: int
    xid_quiet_min: int
    answer_s: float
    telegram: Telegram
    cards: tuple[Card, ...]
    instances: tuple[Instance, ...]


@dataclass
class Counts:
    """What is counted from run to run.

    `full`: runs in a row that a card has been above the limit. `xids`: when the last error of a card came.
    `journal_since`: up to when the kernel's messages have been read, 0 at the first run.
    """

    full: dict[str, int]
    xids: dict[str, float]
    journal_since: float

    @classmethod
    def of(cls, notes: Mapping[str, Any]) -> Counts:
        return cls(notes.get("full", {}), notes.get("xids", {}), notes.get("journal_since", 0.0))


@dataclass(frozen=True)
class Usage:
    """What the driver says of a present card; None where it does not know."""

    used_mib: int | None
    total_mib: int | None


def read_config(path: Path) -> Config:
    """:raises ConfigurationError: with the file's name"""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with path.open() as file:
            parser.read_file(file)
        settings = parser["watchdog"]
        sections = [(name.split(maxsplit=1), parser[name]) for name in parser.sections() if " " in name]
        return Config(
            state=Path(settings["state"]),
            vram_percent=int(settings["vram_percent"]),
            vram_runs=int(settings["vram_runs"]),
            xid_quiet_min=int(settings["xid_quiet_min"]),
            answer_s=float(settings["answer_s"]),
            telegram=Telegram.of(settings, Path(settings["state"]).parent),
            cards=tuple(Card(name, s["name"], s["bus"]) for (kind, name), s in sections if kind == "gpu"),
            instances=tuple(
                Instance(name, int(s["port"]), s["unit"], s["gpu"])
                for (kind, name), s in sections
                if kind == "instance"
            ),
        )
    except (OSError, configparser.Error, KeyError, ValueError) as error:
        raise ConfigurationError(f"{path}: {type(error).__name__}: {error}") from error


def run(command: list[str], timeout_s: float) -> tuple[int, str]:
    """Exit status and everything a program said. One that is missing or too slow has 127 or 124, as in a shell."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} gave no answer within {timeout_s:g} s"
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    return done.returncode, done.stdout.strip()


def ask_driver() -> tuple[dict[str, Usage], str | None]:
    """The present cards by UUID, and what the driver said if it did not list any."""
    fields = "uuid,memory.used,memory.total"
    status, said = run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"], NVIDIA_SMI_S)
    cards = {}
    for line in said.splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) == 3 and values[0].startswith("GPU-"):
            used, total = (int(value) if value.isdigit() else None for value in values[1:])
            cards[values[0]] = Usage(used, total)
    # A lost card makes it fail although it lists the others.
    return (
        cards,
        None if cards else f"nvidia-smi ended with {status}: {' '.join(said.split()) or 'no output'}",
    )


def read_xids(since: float) -> list[tuple[float, str, str]] | None:
    """Driver errors logged after `since`: when, on which bus, and what. None if the journal cannot be read."""
    # By identifier, not `-k`: it is the same for the kernel's own messages, and also works without a kernel log.
    status, said = run(
        ["journalctl", "-t", "kernel", f"--since=@{int(since)}", "-o", "json", "--no-pager", "--quiet"], 60
    )
    if status:
        log(f"journalctl ended with {status}: {said[:500]}")
        return None
    errors = []
    for line in said.splitlines():
        try:
            entry = json.loads(line)
            when = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            found = XID.search(entry["MESSAGE"])
        except (ValueError, KeyError, TypeError):
            continue  # a message that is no text
        if found and when > since:
            errors.append(
                (when, short_bus(found["bus"]), f"Xid {found['code']}: {found['text'] or 'no text'}")
            )
    return errors


def short_bus(address: str) -> str:
    """ "0000:03:00" (the kernel) and "03:00.0" (lspci) are both "03:00"."""
    return ":".join(address.lower().partition(".")[0].split(":")[-2:])


def answers(port: int, timeout_s: float) -> bool:
    """Whether an instance answers; a second time after a moment, because it may just be starting."""
    for pause in (0.0, timeout_s):
        time.sleep(pause)
        try:
            with LOCAL.open(f"http://127.0.0.1:{port}/api/version", timeout=timeout_s) as reply:
                if reply.status == 200:
                    return True
        except (OSError, http.client.HTTPException):
            pass
    return False


def look(
    config: Config, counts: Counts, told: Mapping[str, str], now: float
) -> tuple[dict[str, str], list[str]]:
    """What is wrong at the moment, by the key of its incident, and what could not be looked at. Updates `counts`.

    `told`: the open incidents. A driver that is silent does not mean that a card is back.
    """
    wrong: dict[str, str] = {}
    unseen: list[str] = []
    present, error = ask_driver()
    if error:
        wrong["driver"] = f"the NVIDIA driver does not answer: {error}"
    for card in config.cards:
        if error:
            unseen += [f"missing {card.uuid}", f"vram {card.uuid}"]
        elif card.uuid not in present:
            wrong[f"missing {card.uuid}"] = f"GPU missing: {card}"
            unseen.append(f"vram {card.uuid}")
        elif text := look_at_memory(config, counts, card, present[card.uuid]):
            wrong[f"vram {card.uuid}"] = text
    wrong |= look_at_xids(config, counts, told, now)
    for instance in config.instances:
        # Without its card it cannot answer, and a restart would not bring the card back.
        if instance.gpu not in present:
            unseen.append(f"instance {instance.name}")
        elif not answers(instance.port, config.answer_s):
            wrong[f"instance {instance.name}"] = (
                f"Ollama {instance.name} does not answer on port {instance.port}"
            )
    return wrong, unseen


def look_at_memory(config: Config, counts: Counts, card: Card, usage: Usage) -> str | None:
    """Text of the incident when a card has been nearly full for long enough."""
    percent = 100 * usage.used_mib / usage.total_mib if usage.used_mib and usage.total_mib else 0
    if percent <= config.vram_percent:
        counts.full.pop(card.uuid, None)
        return None
    counts.full[card.uuid] = counts.full.get(card.uuid, 0) + 1
    if counts.full[card.uuid] < config.vram_runs:
        return None
    return f"VRAM {percent:.0f} % full ({usage.used_mib} of {usage.total_mib} MiB): {card}"


def look_at_xids(config: Config, counts: Counts, told: Mapping[str, str], now: float) -> dict[str, str]:
    """The errors that have come since the last run, and those that are not over yet."""
    since = counts.journal_since or now - 600  # at first, not the history of the machine
    errors = read_xids(since)
    counts.journal_since = since if errors is None else now
    wrong = {}
    for when, bus, text in errors or ():
        counts.xids[bus] = max(counts.xids.get(bus, 0.0), when)
        # A message that came while we read would be read again by the next run.
        counts.journal_since = max(counts.journal_since, when)
        card = next((str(card) for card in config.cards if short_bus(card.bus) == bus), f"the card at {bus}")
        wrong[f"xid {bus}"] = f"GPU error on {card}: {text}"
        log(wrong[f"xid {bus}"])
    for bus, when in list(counts.xids.items()):
        if now - when >= config.xid_quiet_min * 60 and f"xid {bus}" not in wrong:
            del counts.xids[bus]
        else:
            wrong.setdefault(f"xid {bus}", told.get(f"xid {bus}", f"GPU error at {bus}"))
    return wrong


def restart(instance: Instance) -> str:
    """Restart an instance, and say how that went. Its warm-up unit follows by itself."""
    status, said = run(["systemctl", "restart", instance.unit], RESTART_S)
    if status == 0:
        return f"{instance.unit} restarted"
    return f"restart of {instance.unit} failed: {said[-300:]}"


def mend(config: Config, key: str) -> str:
    """Restart an instance that has stopped answering; what was done, for the message."""
    kind, _, name = key.partition(" ")
    if kind != "instance":
        return ""
    return "; " + restart(next(instance for instance in config.instances if instance.name == name))


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Look at the GPUs and at Ollama's instances once.")
    parser.add_argument("--config", type=Path, default=Path(CONFIG), help=f"settings (default: {CONFIG})")
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        config = read_config(options.config)
    except ConfigurationError as error:
        log(f"wrong configuration: {error}")
        return 2
    incidents = Incidents.read(config.state, config.telegram)
    counts = Counts.of(incidents.notes)
    wrong, unseen = look(config, counts, incidents.open, time.time())
    incidents.update(wrong, unseen, lambda key: mend(config, key))
    incidents.notes = vars(counts)
    return 0 if incidents.close() else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""GPU watchdog: checks the GPUs once, restarts what hangs, and notifies the owner of incidents that began or ended.

It detects a driver that does not answer, a missing card, a driver error (Xid), a card whose memory is nearly full, and
an Ollama instance that does not answer. It restarts the unit of such an instance, once per incident.

The owner gets one message when an incident begins and one when it is over (incidents.py, beside this file).

Exit status: 0 done, 1 a message could not be sent yet, 2 wrong configuration.
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
    """A card that the host must have."""

    uuid: str
    name: str
    bus: str

    def __str__(self) -> str:
        return f"{self.name} at {self.bus} ({self.uuid[:12]})"


@dataclass(frozen=True)
class Instance:
    """A server that must answer, and the card it computes on."""

    name: str
    port: int
    unit: str
    gpu: str


@dataclass(frozen=True)
class Config:
    """What is watched, and its limits.

    `vram_runs`: runs in a row that a card has to be above `vram_percent`, because a model exchange fills a card for
    moments. `xid_quiet_min`: minutes without another driver error after which one is over. `answer_s`: seconds an
    instance may take to answer.
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
    """What the watchdog counts from run to run.

    `full`: runs in a row that a card has been above the limit. `xids`: time of the last error of a card.
    `journal_since`: time up to which the kernel's messages have been read, 0 at the first run.
    """

    full: dict[str, int]
    xids: dict[str, float]
    journal_since: float

    @classmethod
    def of(cls, notes: Mapping[str, Any]) -> Counts:
        return cls(notes.get("full", {}), notes.get("xids", {}), notes.get("journal_since", 0.0))


@dataclass(frozen=True)
class Usage:
    """What the driver reports about a card; None where it does not know."""

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
    """Exit status and output of a program. A missing one ends with 127 and a slow one with 124, as in a shell."""
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


def query_driver() -> tuple[dict[str, Usage], str | None]:
    """The cards that the driver lists, by UUID, and its error if it lists none."""
    fields = "uuid,memory.used,memory.total"
    status, output = run(
        ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"], NVIDIA_SMI_S
    )
    cards = {}
    for line in output.splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) == 3 and values[0].startswith("GPU-"):
            used, total = (int(value) if value.isdigit() else None for value in values[1:])
            cards[values[0]] = Usage(used, total)
    # nvidia-smi fails because of one lost card, although it lists the others.
    return (
        cards,
        None if cards else f"nvidia-smi ended with {status}: {' '.join(output.split()) or 'no output'}",
    )


def read_xids(since: float) -> list[tuple[float, str, str]] | None:
    """Driver errors logged after `since`: time, bus and text. None if the journal cannot be read."""
    # By identifier, not `-k`: that finds the kernel's messages as well, and also works without a kernel log.
    status, output = run(
        ["journalctl", "-t", "kernel", f"--since=@{int(since)}", "-o", "json", "--no-pager", "--quiet"], 60
    )
    if status:
        log(f"journalctl ended with {status}: {output[:500]}")
        return None
    errors = []
    for line in output.splitlines():
        try:
            entry = json.loads(line)
            when = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            match = XID.search(entry["MESSAGE"])
        except (ValueError, KeyError, TypeError):
            continue  # a message that is no text
        if match and when > since:
            errors.append(
                (when, short_bus(match["bus"]), f"Xid {match['code']}: {match['text'] or 'no text'}")
            )
    return errors


def short_bus(address: str) -> str:
    """ "0000:03:00" (the kernel) and "03:00.0" (lspci) are both "03:00"."""
    return ":".join(address.lower().partition(".")[0].split(":")[-2:])


def answers(port: int, timeout_s: float) -> bool:
    """Whether an instance answers. It gets a second chance after a moment, because it may just be starting."""
    for pause in (0.0, timeout_s):
        time.sleep(pause)
        try:
            with LOCAL.open(f"http://127.0.0.1:{port}/api/version", timeout=timeout_s) as reply:
                if reply.status == 200:
                    return True
        except (OSError, http.client.HTTPException):
            pass
    return False


def check_run(
    config: Config, counts: Counts, open_incidents: Mapping[str, str], now: float
) -> tuple[dict[str, str], list[str]]:
    """Current incidents by key, and keys of incidents whose state is unknown. Updates `counts`.

    A missing card is not back because the driver is silent: then its incident is unknown.
    """
    current: dict[str, str] = {}
    unknown: list[str] = []
    present, error = query_driver()
    if error:
        current["driver"] = f"the NVIDIA driver does not answer: {error}"
    for card in config.cards:
        if error:
            unknown += [f"missing {card.uuid}", f"vram {card.uuid}"]
        elif card.uuid not in present:
            current[f"missing {card.uuid}"] = f"GPU missing: {card}"
            unknown.append(f"vram {card.uuid}")
        elif text := check_memory(config, counts, card, present[card.uuid]):
            current[f"vram {card.uuid}"] = text
    current |= check_xids(config, counts, open_incidents, now)
    for instance in config.instances:
        # Without its card it cannot answer, and a restart would not bring the card back.
        if instance.gpu not in present:
            unknown.append(f"instance {instance.name}")
        elif not answers(instance.port, config.answer_s):
            current[f"instance {instance.name}"] = (
                f"Ollama {instance.name} does not answer on port {instance.port}"
            )
    return current, unknown


def check_memory(config: Config, counts: Counts, card: Card, usage: Usage) -> str | None:
    """Text of the incident if a card has been nearly full for long enough."""
    percent = 100 * usage.used_mib / usage.total_mib if usage.used_mib and usage.total_mib else 0
    if percent <= config.vram_percent:
        counts.full.pop(card.uuid, None)
        return None
    counts.full[card.uuid] = counts.full.get(card.uuid, 0) + 1
    if counts.full[card.uuid] < config.vram_runs:
        return None
    return f"VRAM {percent:.0f} % full ({usage.used_mib} of {usage.total_mib} MiB): {card}"


def check_xids(
    config: Config, counts: Counts, open_incidents: Mapping[str, str], now: float
) -> dict[str, str]:
    """Incidents of the errors since the last run, and of those that are not over yet."""
    since = counts.journal_since or now - 600  # the first run does not read the history of the machine
    errors = read_xids(since)
    counts.journal_since = since if errors is None else now
    current = {}
    for when, bus, text in errors or ():
        counts.xids[bus] = max(counts.xids.get(bus, 0.0), when)
        # Otherwise the next run would read again a message that came during this one.
        counts.journal_since = max(counts.journal_since, when)
        card = next((str(card) for card in config.cards if short_bus(card.bus) == bus), f"the card at {bus}")
        current[f"xid {bus}"] = f"GPU error on {card}: {text}"
        log(current[f"xid {bus}"])
    for bus, when in list(counts.xids.items()):
        if now - when >= config.xid_quiet_min * 60 and f"xid {bus}" not in current:
            del counts.xids[bus]
        else:
            current.setdefault(f"xid {bus}", open_incidents.get(f"xid {bus}", f"GPU error at {bus}"))
    return current


def restart(instance: Instance) -> str:
    """Restart an instance, and return the result in words. Its warm-up unit follows by itself."""
    status, output = run(["systemctl", "restart", instance.unit], RESTART_S)
    if status == 0:
        return f"{instance.unit} restarted"
    return f"restart of {instance.unit} failed: {output[-300:]}"


def repair(config: Config, key: str) -> str:
    """Restart the instance of an incident. Returns what is added to the message: nothing for other incidents."""
    kind, _, name = key.partition(" ")
    if kind != "instance":
        return ""
    return "; " + restart(next(instance for instance in config.instances if instance.name == name))


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check the GPUs and Ollama's instances once.")
    parser.add_argument("--config", type=Path, default=Path(CONFIG), help=f"settings (default: {CONFIG})")
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        config = read_config(options.config)
    except ConfigurationError as error:
        log(f"wrong configuration: {error}")
        return 2
    incidents = Incidents.read(config.state, config.telegram)
    counts = Counts.of(incidents.notes)
    current, unknown = check_run(config, counts, incidents.open, time.time())
    incidents.update(current, unknown, lambda key: repair(config, key))
    incidents.notes = vars(counts)
    return 0 if incidents.close() else 1


if __name__ == "__main__":
    sys.exit(main())

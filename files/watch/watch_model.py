"""What the watch is made of: its settings, its limits, a check, and what a check finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import configuration
from configuration import Login
from incidents import ConfigurationError, Telegram


@dataclass(frozen=True)
class Limits:
    """Every limit of the watch; the declarations say what each means (`Watch`, `BackupPolicy.max_age_h`)."""

    disk_alert_percent: int
    inodes_percent: int
    postgres_connections_percent: int
    redis_memory_percent: int
    celery_queue: int
    ollama_latency_p95_s: int
    fallback_percent: int
    backup_age_h: int
    certificate_days: int
    window_min: int
    min_calls: int
    unmeasured_runs: int
    restart_quiet_min: int
    pending_min: int
    swap_percent: int
    memory_pressure_percent: int

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Limits:
        return cls(**{limit.name: int(settings[limit.name]) for limit in fields(cls)})


@dataclass(frozen=True)
class Config:
    """What is watched on this host."""

    state: Path
    telegram: Telegram
    limits: Limits
    disks: tuple[str, ...]
    proc: Path
    modules: Path
    reboot_required: Path
    containers: tuple[Mapping[str, Any], ...]
    postgres: tuple[str, ...]
    redis: tuple[str, ...]
    litellm: Mapping[str, Any] | None
    celery: tuple[Mapping[str, Any], ...]
    caches: tuple[Mapping[str, Any], ...]
    backups: Mapping[str, Any]
    certificates: Mapping[str, Any]
    logins: Mapping[str, Login]

    @classmethod
    def read(cls, path: Path) -> Config:
        """:raises ConfigurationError: with the file's name"""
        settings, logins = configuration.read(path)
        try:
            return cls(
                state=Path(settings["state"]),
                telegram=Telegram.of(settings["alert"], Path(settings["state"]).parent),
                limits=Limits.of(settings["limits"]),
                disks=tuple(settings["disks"]),
                proc=Path(settings["proc"]),
                modules=Path(settings["modules"]),
                reboot_required=Path(settings["reboot_required"]),
                containers=tuple(settings["containers"]),
                postgres=tuple(settings["postgres"]),
                redis=tuple(settings["redis"]),
                litellm=settings["litellm"],
                celery=tuple(settings["celery"]),
                caches=tuple(settings["caches"]),
                backups=settings["backups"],
                certificates=settings["certificates"],
                logins=logins,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{path}: {type(error).__name__}: {error}") from error


@dataclass
class Findings:
    """What a run of a check finds.

    `incidents`: text of each incident by its key. `unknown`: keys of incidents about which the run can say nothing.
    `notes`: what the watch remembers from run to run. `since`: since when what has to last is so, by key, in seconds
    since the epoch.
    """

    prefix: str
    notes: dict[str, Any]
    incidents: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    since: dict[str, float] = field(default_factory=dict)

    def lasts(self, subject: str, minutes: int) -> bool:
        """Whether something that is so now has been so in each run for some minutes."""
        key = f"{self.prefix} {subject}"
        self.since[key] = self.notes.get("since", {}).get(key, time.time())
        return time.time() - self.since[key] >= minutes * 60

    def report(self, subject: str, text: str) -> None:
        """Report an incident of this check. Its key is the prefix of the check and the subject."""
        self.incidents[f"{self.prefix} {subject}"] = text

    def report_above(self, subject: str, actual: float, limit: float, text: str) -> None:
        """Report an incident where a value is above its limit."""
        if actual > limit:
            self.report(subject, text)

    def report_unknown(self, subject: str) -> None:
        """Leave an incident as it is, open or not."""
        self.unknown.append(f"{self.prefix} {subject}")


@dataclass(frozen=True)
class Check:
    """One thing that is measured. All keys of its incidents begin with its prefix, and no other check's do.

    A deployed host has open incidents under these keys: a new prefix would report their end.
    """

    name: str
    prefix: str
    run: Callable[[Config, Findings], None]

    def owns(self, key: str) -> bool:
        return key.startswith(f"{self.prefix} ")

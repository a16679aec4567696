"""Cron jobs: when they run, and that they leave each other alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from blueprint.model.declaration import Declaration, checking

MINUTES_A_WEEK = 7 * 24 * 60
_FIELD = re.compile(r"(\*|[0-9]+(-[0-9]+)?)(/[1-9][0-9]*)?(,(\*|[0-9]+(-[0-9]+)?)(/[1-9][0-9]*)?)*")
_BOUNDS = {"minute": (0, 59), "hour": (0, 23), "day of the week": (0, 7)}


def _expand(text: str, least: int, most: int) -> set[int]:
    """The numbers that one field of a crontab stands for. Raises ValueError for anything cron would refuse."""
    if not _FIELD.fullmatch(text):
        raise ValueError(text)
    numbers: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = ("*", "", "") if span == "*" else span.partition("-")
        low = least if first == "*" else int(first)
        high = most if first == "*" or (step and not last) else int(last or first)
        if not least <= low <= high <= most:
            raise ValueError(text)
        numbers.update(range(low, high + 1, int(step or 1)))
    return numbers


def minutes_of_week(schedule: str) -> frozenset[int]:
    """Minutes of a week (0 is Sunday 00:00) at which a schedule fires.

    Day of the month and month must be `*`: everything here is weekly or more frequent, so a week shows every
    collision.

    :raises ValueError: for anything else than five fields that cron understands
    """
    parts = schedule.split()
    if len(parts) != 5 or parts[2:4] != ["*", "*"]:
        raise ValueError(schedule)
    minutes, hours, days = (
        _expand(text, *_BOUNDS[name])
        for name, text in zip(_BOUNDS, (parts[0], parts[1], parts[4]), strict=True)
    )
    return frozenset(
        day % 7 * 1440 + hour * 60 + minute for day in days for hour in hours for minute in minutes
    )


@dataclass(frozen=True, kw_only=True)
class CronJob(Declaration):
    """One file in /etc/cron.d, which runs a script in the folder of scripts, as root.

    :param name: file name, and the script's without its ending; its output goes to `<name>.log` in the folder of logs
    :param schedule: minute, hour, day of the month, month, day of the week
    :param lasts_min: minutes it keeps disk or GPUs busy; two such jobs never overlap unless they share a lock
    :param lock: jobs with the same lock take turns
    :param wait_s: seconds to wait for the lock; 0 leaves this round out
    :param phase: what brings it
    """

    name: str
    schedule: str
    lasts_min: int = 0
    lock: str = ""
    wait_s: int = 0
    phase: str = "hardware"

    def __post_init__(self) -> None:
        with checking(f"CronJob {self.name}") as check:
            check.name("name", self.name)
            try:
                minutes_of_week(self.schedule)
            except ValueError:
                check.that(
                    False,
                    "schedule",
                    self.schedule,
                    'five fields with "* *" in the middle, such as "0 4 * * 0"',
                )
            check.integer("lasts_min", self.lasts_min, 0, 24 * 60, "minutes")
            check.integer("wait_s", self.wait_s, 0, 3600, "seconds")
            if self.lock:
                check.name("lock", self.lock)
            check.name("phase", self.phase)

    @property
    def script(self) -> str:
        """File name of what it runs."""
        return f"{self.name}.sh"

    @property
    def lock_name(self) -> str:
        """Its lock; without a shared one its own, so that a job that hangs is not started twice."""
        return self.lock or self.name

    def overlaps(self, other: CronJob) -> bool:
        """Whether both are at work in the same minute of the week."""
        if not (self.lasts_min and other.lasts_min):
            return False
        return bool(self._busy() & other._busy())

    def _busy(self) -> set[int]:
        return {
            (start + minute) % MINUTES_A_WEEK
            for start in minutes_of_week(self.schedule)
            for minute in range(self.lasts_min)
        }

"""What cron understands of a schedule."""

from __future__ import annotations

import re

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

"""Processes that outlive the command that started them, known by more than their number."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path


def record(file: Path, pid: int) -> None:
    """Write the identity of a process into a file, from which later commands know it."""
    file.write_text(f"{pid} {_started(pid)}\n")


def recorded(file: Path) -> int | None:
    """The id of the recorded process; None once it is gone, or where there is no record."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        pid, started = file.read_text().split()
        if _started(int(pid)) == started:
            return int(pid)
    return None


def gone(file: Path, seconds: float) -> bool:
    """Wait until the recorded process is gone.

    :return: whether it is, after at most so many seconds
    """
    deadline = time.monotonic() + seconds
    while recorded(file) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot: with its id, an identity that no other process gets."""
    status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return "dead" if status[0] == "Z" else status[19]

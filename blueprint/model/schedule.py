"""Cron jobs, and which of them overlap."""

from __future__ import annotations

from typing import Annotated

from blueprint.model import types
from blueprint.model.cron import MINUTES_A_WEEK, minutes_of_week
from blueprint.model.declaration import Declaration, declaration
from blueprint.validation import Whole


@declaration()
class CronJob(Declaration):
    """One file in /etc/cron.d, which runs a script in the folder of scripts, as root.

    :param name: file name, and the script's without its ending; its output goes to `<name>.log` in the folder of logs
    :param schedule: minute, hour, day of the month, month, day of the week
    :param lasts_min: minutes it keeps disk or GPUs busy; two such jobs never overlap unless they share a lock
    :param lock: jobs with the same lock take turns
    :param wait_s: seconds to wait for the lock; with 0, a job skips its turn
    :param phase: name of its phase
    """

    name: types.Name
    schedule: types.CronSchedule
    lasts_min: Annotated[int, Whole(0, 7 * 24 * 60, "minutes")] = 0
    lock: types.OptionalName = ""
    wait_s: Annotated[int, Whole(0, 86_400, "seconds")] = 0
    phase: str = "hardware"

    @property
    def script(self) -> str:
        """File name of what it runs."""
        return f"{self.name}.sh"

    @property
    def lock_name(self) -> str:
        """Its lock, by default one of its own: a job that hangs is not started twice."""
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

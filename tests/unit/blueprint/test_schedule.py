"""Cron's five fields, and jobs that would be at work together."""

from __future__ import annotations

import pytest

from blueprint.model import CronJob
from blueprint.model.cron import minutes_of_week


def job(schedule: str, **fields: int | str) -> CronJob:
    return CronJob(name="job", schedule=schedule, **fields)  # type: ignore[arg-type]


def test_a_daily_job_fires_on_seven_days() -> None:
    assert minutes_of_week("0 4 * * *") == {day * 1440 + 240 for day in range(7)}


def test_every_five_minutes() -> None:
    assert len(minutes_of_week("*/5 * * * *")) == 7 * 24 * 12


@pytest.mark.parametrize("sunday", ["0", "7"])
def test_sunday_has_two_numbers(sunday: str) -> None:
    assert minutes_of_week(f"17 2 * * {sunday}") == {137}


def test_lists_ranges_and_steps() -> None:
    assert minutes_of_week("0 1-3,5 * * 1") == {1440 + 60 * hour for hour in (1, 2, 3, 5)}
    assert minutes_of_week("10/20 0 * * 0") == {10, 30, 50}


@pytest.mark.parametrize(
    "bad", ["", "0 4", "60 * * * *", "* * * * 8", "5-1 * * * *", "@daily x * * *", "0 4 * 1 *"]
)
def test_what_cron_would_not_understand(bad: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        minutes_of_week(bad)


def test_jobs_overlap_while_both_are_at_work() -> None:
    backup = job("0 3 * * *", lasts_min=30)
    assert backup.overlaps(job("20 3 * * 0", lasts_min=5))
    assert job("50 2 * * 0", lasts_min=11).overlaps(backup)
    assert not job("50 2 * * 0", lasts_min=10).overlaps(backup)


def test_a_job_over_the_end_of_the_week_meets_its_beginning() -> None:
    assert job("50 23 * * 6", lasts_min=20).overlaps(job("5 0 * * 0", lasts_min=1))


def test_a_job_that_is_over_at_once_meets_nobody() -> None:
    assert not job("*/5 * * * *").overlaps(job("0 4 * * *", lasts_min=15))


def test_a_job_has_a_lock_of_its_own_unless_it_shares_one() -> None:
    assert job("0 4 * * *").lock_name == "job"
    assert job("0 4 * * *", lock="gpu").lock_name == "gpu"

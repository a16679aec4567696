"""The lanes of `make test`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lab.paths import CHECKOUT
from tests import lanes
from tests.copies import copy_checkout


def test_every_lane_is_made_of_targets_that_are_there_each_once() -> None:
    targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    suites = [suite for lane in lanes.LANES.values() for suite in lane]
    assert len(suites) == len(set(suites))
    assert set(suites) <= set(targets)


def test_a_suite_that_fails_stops_no_other_and_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    assert lanes.run_lanes({"first": ("no-such-suite", "help")}) == {"first": 2}
    output = capfd.readouterr().out
    assert "no-such-suite" in output
    assert "first  |   make deploy" in output
    assert lanes.run_lanes({"first": ("help",)}) == {"first": 0}


def test_a_copy_is_a_checkout_with_what_is_not_committed_and_without_what_is_ignored(tmp_path: Path) -> None:
    copy_checkout(tmp_path)
    listed = subprocess.run(["git", "ls-files"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert {"Makefile", "lab/images/bull-board", "tests/lanes.py"} <= set(listed.stdout.splitlines())
    assert (tmp_path / "lab/images/bull-board").is_symlink()
    assert not (tmp_path / ".venv").exists()

"""All of checks/ passes on the deployed server, each kind fails where something is broken, and a run repairs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from lab.machine import Machine
from tests.host.checks import run_checks
from tests.host.conftest import CompletedRun, await_healthy, await_true, without_cron
from tests.services.broken_on_purpose import BREAKAGES
from tests.services.conftest import UP, Statuses

# What depends on what was broken, and is seen by others' checks sooner or later.
FOLLOWS = ("test_uptime_kuma::test_monitor_is_up",)


def test_all_pass_on_the_deployed_server(machine: Machine) -> None:
    await_healthy(machine)
    failed, output = run_checks()
    assert failed == set(), output
    passed = re.search(r"(\d+) passed", output)
    assert passed and int(passed[1]) >= 250, output


@pytest.fixture
def broken(machine: Machine, deploy: Callable[..., CompletedRun]) -> Iterator[None]:
    """Everything is broken at once; a run repairs it afterwards, after what no run repairs was undone by hand."""
    with without_cron(machine):
        try:
            for breakage in BREAKAGES.values():
                machine.run(breakage.how, timeout=120)
            yield
        finally:
            for breakage in reversed(BREAKAGES.values()):
                machine.run(breakage.undo or "true", check=False, timeout=120)
        assert deploy().rc == 0
        await_healthy(machine)


def test_each_fails_where_something_is_broken(broken: None) -> None:
    failed, output = run_checks()
    found = {name for name in failed if not name.startswith(FOLLOWS)}
    expected = {name for breakage in BREAKAGES.values() for name in breakage.fails}
    assert (expected - found, found - expected) == (set(), set()), output


def test_a_run_mends_what_was_broken(machine: Machine, statuses: Statuses) -> None:
    # A monitor that was down is asked again within two minutes.
    await_true(lambda: set(statuses().values()) == {UP}, 240, "Uptime Kuma with all monitors up")
    failed, output = run_checks()
    assert failed == set(), output

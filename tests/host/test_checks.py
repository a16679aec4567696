"""The checks of checks/ on a host that has phase hardware only."""

from __future__ import annotations

import re

from lab.machine import Machine
from tests.host.checks import run_checks
from tests.host.conftest import await_healthy, repair_instances


def test_checks_ask_for_what_is_deployed_only(machine: Machine) -> None:
    repair_instances(machine)
    await_healthy(machine)
    failed, output = run_checks()
    assert failed == set(), output
    passed = re.search(r"(\d+) passed, .*(\d+) deselected", output)
    assert passed and int(passed[1]) > 50, output

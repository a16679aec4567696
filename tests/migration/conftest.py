"""A machine in the place of the lab's server, on which each module puts what was there before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.backends import server
from lab.machine import Machine
from lab.paths import Lab
from tests.host.conftest import CompletedRun, ended, pyinfra_command, run_pyinfra, the_lab  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def in_its_place(the_lab: Lab) -> Iterator[Machine]:  # noqa: F811 - the fixture imported above
    """A machine of its own: the deployed one keeps its data, and waits shut down meanwhile."""
    deployed = server(the_lab)
    deployed.stop()
    before = server(the_lab, "before")
    yield before
    before.scrap()
    deployed.start()


@pytest.fixture(scope="module")
def machine(in_its_place: Machine) -> Machine:
    """It, fresh, with phase `hardware` and nothing else."""
    in_its_place.reset()
    done = run_pyinfra()
    assert done.rc == 0, done.output
    return in_its_place


def command(*arguments: str) -> list[str]:
    """This suite's own deploy, with further arguments."""
    return pyinfra_command(*arguments, deploy=["tests/migration/datastores_deploy.py"])


def migrate(*arguments: str) -> CompletedRun:
    """Run it."""
    return ended(command(*arguments))

"""The projects on the provisioned lab: what tests/services has, and jobs that are put into a container's queue."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.machine import Machine
from lab.upstream import traffic
from tests.host.conftest import await_answer, await_healthy, forward, outside, telegrams, the_lab  # noqa: F401 - fixtures
from tests.services.conftest import datastores, deploy, machine, messages, no_cron, password, statuses  # noqa: F401 - fixtures
from tests.services.declared import everything

PROJECTS = everything().projects
Job = Callable[..., dict[str, Any]]


def job_of(machine: Machine, container: str, *words: str) -> Any:  # noqa: F811 - the fixture's name
    """Have a container put a job into a queue; the completed process, with the answer on its standard output."""
    return machine.run(f"docker exec {container} scaffold-job {shlex.join(words)}", check=False, timeout=300)


@pytest.fixture
def job(machine: Machine) -> Job:  # noqa: F811 - likewise
    """Have a container put a job into a queue, and wait for the answer: the job's id and its result."""

    def put(container: str, *words: str) -> dict[str, Any]:
        done = job_of(machine, container, *words)
        assert done.returncode == 0, f"{container}: {done.stdout}{done.stderr}"
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    return put


@pytest.fixture
def broken(machine: Machine, no_cron: None) -> Iterator[Callable[..., None]]:  # noqa: F811 - likewise
    """Stop containers and units; they run again, and are healthy, after the test. The providers recover too."""
    stopped: list[tuple[str, str]] = []

    def stop(*, containers: tuple[str, ...] = (), units: tuple[str, ...] = ()) -> None:
        for unit in units:
            stopped.append(("unit", unit))
            machine.run(f"systemctl stop {unit}")
        for container in containers:
            stopped.append(("container", container))
            machine.run(f"docker stop {container}")

    yield stop
    traffic.recover(machine.lab)
    for kind, name in stopped:
        machine.run(f"systemctl start {name}" if kind == "unit" else f"docker start {name}")
    await_answer(machine, *(name for kind, name in stopped if kind == "unit"))
    await_healthy(machine)

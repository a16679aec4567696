"""The shared services on the provisioned lab: what tests/host has, with every phase deployed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from blueprint.secrets import Secrets
from lab.backends import server
from lab.machine import Machine
from lab.paths import CHECKOUT, Lab
from tests.host.conftest import (  # noqa: F401 - fixtures
    CompletedRun,
    Telegrams,
    forward,
    outside,
    run_pyinfra,
    telegrams,
    the_lab,
    without_cron,
)
from tests.services.datastores import Datastores
from tests.services.declared import everything
from tests.services.tenants import Tenant
from tests.services.tenants import tenants as all_tenants

METRIC = re.compile(r'^monitor_status\{.*?monitor_name="([^"]+)".*\} (\d)$', re.MULTILINE)
Statuses = Callable[[], dict[str, int]]
DOWN, UP = 0, 1  # of a monitor
ALL = ("--data", "phase=all")  # the last one counts


@pytest.fixture(scope="session")
def machine(the_lab: Lab) -> Machine:  # noqa: F811 - the fixture imported above
    """The lab's server with every phase."""
    machine = server(the_lab)
    machine.start()
    done = run_pyinfra(*ALL)
    assert done.rc == 0, done.output
    return machine


@pytest.fixture
def deploy(machine: Machine) -> Callable[..., CompletedRun]:
    """Deploy all phases again, with further arguments."""
    return lambda *arguments: run_pyinfra(*ALL, *arguments)


@pytest.fixture(scope="module")
def no_cron(machine: Machine) -> Iterator[None]:
    """Cron's own rounds stay out."""
    with without_cron(machine):
        yield


@pytest.fixture
def messages(telegrams: Telegrams) -> Telegrams:  # noqa: F811 - likewise
    """Messages of the host's own scripts since the test began, without those of Uptime Kuma."""
    return lambda: [text for text in telegrams() if text[0] in "🔴🟢🔵"]


@pytest.fixture
def datastores(machine: Machine, forward: Callable[[str, int], int]) -> Datastores:  # noqa: F811 - likewise
    applied = everything()
    return Datastores(machine, forward, applied.databases, applied.redis_indexes)


@pytest.fixture(scope="session")
def tenants(machine: Machine) -> list[Tenant]:
    """Every project, with a way to run programs in a container of its own."""
    return all_tenants(machine)


@pytest.fixture(scope="session")
def password() -> str:
    return Secrets.open("lab", CHECKOUT / "secrets").provided("uptime_kuma/password")


@pytest.fixture
def statuses(forward: Callable[[str, int], int], password: str) -> Iterator[Statuses]:  # noqa: F811 - likewise
    """Every monitor's status, as Uptime Kuma reports it to Prometheus: another way than the deploy's."""
    with httpx.Client(auth=("admin", password), timeout=60, trust_env=False) as client:
        url = f"http://127.0.0.1:{forward('127.0.0.1', 3001)}/metrics"
        yield lambda: {name: int(status) for name, status in METRIC.findall(client.get(url).text)}

"""What only a stack's own services need answers these alone: tried from each project, by every name and address."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from blueprint.names import KUMA
from lab.machine import Machine
from tests.services.declared import everything
from tests.services.tenants import Tenant

STACKS = everything().stacks
PRIVATE = {service.name: service for stack in STACKS for service in stack.services if service.private}
# Who may speak to each: what depends on it, and Uptime Kuma, which watches it.
USERS = {
    service.name: {KUMA, *(other.name for other in stack.services if service.name in other.depends_on)}
    for stack in STACKS
    for service in stack.services
    if service.private
}
# Ports on which they listen besides the declared one.
MORE_PORTS = {"clickhouse": [9000], "temporal-es": [9300]}

CONNECT = """
import json, socket, sys
found = {}
for name, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((name, port), 5).close()
        found[name] = "connected"
    except OSError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def networks(machine: Machine) -> dict[str, dict[str, Any]]:
    """The networks of each container, by its name."""
    output = json.loads(machine.run("docker inspect $(docker ps --quiet)").stdout)
    return {one["Name"].removeprefix("/"): one["NetworkSettings"]["Networks"] for one in output}


def test_what_is_private_is_declared_so() -> None:
    """What answers without a login, and what only Langfuse's parts use."""
    assert PRIVATE.keys() == {"temporal", "temporal-pg", "temporal-es", "clickhouse", "minio"}


def test_no_project_reaches_them_by_any_name_or_address(
    tenants: list[Tenant], networks: dict[str, dict[str, Any]]
) -> None:
    targets = [
        (where, port)
        for service in PRIVATE.values()
        for port in [service.port, *MORE_PORTS.get(service.name, [])]
        for where in [
            *service.names,
            *(
                address
                for one in networks[service.name].values()
                for address in (one["IPAddress"], one["Gateway"])
            ),
        ]
        if where
    ]
    assert len(targets) > 2 * len(PRIVATE)
    for tenant in tenants:
        reached = tenant.python(
            """
            from concurrent.futures import ThreadPoolExecutor
            with ThreadPoolExecutor(32) as pool:
                answers = pool.map(lambda one: connects(*one), arguments["targets"])
                print(json.dumps([one for one, answered in zip(arguments["targets"], answers) if answered]))
            """,
            targets=targets,
        )
        assert reached == [], tenant.project.name
        # The same way of asking does reach what is for everybody.
        shared = tenant.python('print(json.dumps(connects("pgbouncer", 6432)))')
        assert shared is True


@pytest.mark.parametrize("name", ["postiz", "temporal", "langfuse-web", "langfuse-worker"])
def test_who_needs_them_reaches_them_and_no_others(machine: Machine, name: str) -> None:
    """The lab's images of these have Python; what is on a network with one is all it can be asked for."""
    targets = [[one, service.port] for one, service in PRIVATE.items() if one != name]
    command = f"docker exec -i {name} python3 - {shlex.quote(json.dumps(targets))}"
    found = json.loads(machine.run(command, input=CONNECT, timeout=120).stdout)
    stack = next(stack for stack in STACKS if name in [one.name for one in stack.services])
    reached = {one for one, answer in found.items() if answer == "connected"}
    assert reached == set(stack.private) - {name}
    assert reached >= {one for one, users in USERS.items() if name in users}


def test_they_have_no_way_out(machine: Machine) -> None:
    for name in sorted(PRIVATE):
        routes = machine.run(f"docker exec {name} cat /proc/net/route").stdout.splitlines()[1:]
        assert routes, name
        assert [line for line in routes if line.split()[1] == "00000000"] == [], name

"""Four projects, three servers: each works with what is its own, and with nothing else (requirements 11.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import httpx
import psycopg
import pytest
from redis import exceptions

from blueprint.redis import users
from group_data.shared import gateway
from lab.machine import Machine
from tests.projects.conftest import PROJECTS
from tests.services.datastores import POOLER, POSTGRES, Datastores
from tests.services.declared import everything

NAMES = [project.name for project in PROJECTS]
DATABASE = {project.name: project.databases[0] for project in PROJECTS}


@pytest.mark.checklist("4.1", "5.1")
@pytest.mark.parametrize("server", [POSTGRES, POOLER], ids=["direct", "pooled"])
def test_a_role_gets_into_its_own_database_alone(datastores: Datastores, server: tuple[str, int]) -> None:
    def lets_in(project: str, other: str) -> bool:
        try:
            with datastores.connect(
                DATABASE[other].name, DATABASE[project].role, server=server
            ) as connection:
                return connection.execute("SELECT current_database()").fetchone() == (DATABASE[other].name,)
        except psycopg.OperationalError as refusal:
            assert "permission denied for database" in str(refusal), refusal
            return False

    assert {pair for pair in product(NAMES, NAMES) if lets_in(*pair)} == {(name, name) for name in NAMES}


@pytest.mark.checklist("4.3", "5.3")
def test_a_user_of_redis_gets_into_its_own_indexes_alone(datastores: Datastores) -> None:
    """Each index but 0, which tests/services/test_redis.py shows as the gap that it is."""
    own = {project.name: {index.index for index in project.redis if not index.users} for project in PROJECTS}
    table = users(everything().redis_indexes)
    for project, index in product(PROJECTS, range(1, 16)):
        client = datastores.redis(project.redis_user)
        if index in own[project.name]:
            assert client.execute_command("SELECT", index)
        else:
            with pytest.raises(exceptions.NoPermissionError):
                client.execute_command("SELECT", index)
        assert own[project.name] == set(table[project.redis_user])
    # Index 7 is the one that two of them have.
    shared = {index for one, other in product(NAMES, NAMES) if one < other for index in own[one] & own[other]}
    assert shared == {7}


@pytest.fixture
def gateway_client(machine: Machine, forward: Callable[[str, int], int]) -> Iterator[httpx.Client]:
    network = "{{.NetworkSettings.Networks.coolify.IPAddress}}"
    address = machine.run(f"docker inspect --format '{network}' {gateway.container}").stdout.strip()
    url = f"http://127.0.0.1:{forward(address, gateway.port)}"
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client


@pytest.mark.checklist("1.5", "4.4", "5.4")
def test_a_key_is_of_its_own_team_alone(gateway_client: httpx.Client, datastores: Datastores) -> None:
    def sees(project: str, other: str) -> bool:
        teams = {one.name: one.team for one in PROJECTS}
        key = datastores.password(teams[project].key_secret)
        answer = gateway_client.get(
            "/team/info", params={"team_id": teams[other].name}, headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.status_code in (200, 401, 403), answer.text
        return answer.status_code == 200

    assert {pair for pair in product(NAMES, NAMES) if sees(*pair)} == {(name, name) for name in NAMES}

"""Langfuse from each project's container, with its own keys: it reads and writes its own traces and no others."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from blueprint import Secrets
from blueprint.langfuse import initial
from blueprint.names import POSTGRES
from lab.machine import Machine
from lab.paths import CHECKOUT
from operations.langfuse import REMOVED, quick_hash
from tests.host.conftest import CompletedRun, await_true
from tests.services.datastores import Datastores
from tests.services.declared import everything
from tests.services.tenants import Tenant

FIRST = initial(everything().blueprint.shared_stacks)

# What every program below begins with: requests with the pair that the container itself has.
KEYS = """
import base64

names = arguments["names"]
base = os.environ[names.get("LANGFUSE_HOST", "LANGFUSE_HOST")] + "/api/public/"
public = os.environ[names.get("LANGFUSE_PUBLIC_KEY", "LANGFUSE_PUBLIC_KEY")]
secret = os.environ[names.get("LANGFUSE_SECRET_KEY", "LANGFUSE_SECRET_KEY")]

def ask(path, body=None, public=public, secret=secret):
    pair = base64.b64encode(f"{public}:{secret}".encode()).decode()
    status, text = answer(base + path, body, headers={"Authorization": "Basic " + pair})
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text

"""
WRITE = """
event = {"id": arguments["id"], "type": "trace-create", "timestamp": "2026-02-25T20:00:00Z"}
event["body"] = {"id": arguments["id"], "name": "tenants", "tags": ["project:" + arguments["name"]]}
status, reply = ask("ingestion", {"batch": [event]})
print(json.dumps([status, len(reply["successes"]) if status == 207 else reply]))
"""
READ = """
found = {name: ask("traces/" + number)[0] for name, number in arguments["ids"].items()}
listed = [trace["id"] for trace in ask("traces?name=tenants&limit=100")[1]["data"]]
projects = [project["id"] for project in ask("projects")[1]["data"]]
print(json.dumps({"found": found, "listed": listed, "projects": projects}))
"""
OPEN = """
found = {}
for other in arguments["publics"]:
    status, reply = ask("projects", public=other)
    found["theirs with my secret " + other] = [project["id"] for project in reply["data"]] if status == 200 else []
    found["theirs without a secret " + other] = ask("projects", public=other, secret="sk-lf-guess")[0]
found["new project"] = ask("projects", {"name": "mine"})[0]
found["of the organisation"] = ask("organizations/projects")[0]
print(json.dumps(found))
"""


def programs(tenant: Tenant, program: str, **arguments: Any) -> Any:
    return tenant.python(KEYS + program, names=dict(tenant.project.env_aliases), **arguments)


@pytest.fixture(scope="module")
def traces(tenants: list[Tenant]) -> dict[str, str]:
    """A trace of each project, written from its own container."""
    ids = {tenant.project.name: secrets.token_hex(16) for tenant in tenants}
    for tenant in tenants:
        name = tenant.project.name
        assert programs(tenant, WRITE, id=ids[name], name=name) == [207, 1], name
    return ids


def test_each_project_reads_its_own_traces_alone(tenants: list[Tenant], traces: dict[str, str]) -> None:
    read: dict[str, Any] = {}

    def all_arrived() -> bool:
        read.update({each.project.name: programs(each, READ, ids=traces) for each in tenants})
        return all(read[name]["found"][name] == 200 for name in traces)

    await_true(all_arrived, 120, "each project's own trace")  # the worker takes them from a queue
    names = traces.keys()
    reachable = {(one, other) for one in names for other in names if read[one]["found"][other] != 404}
    assert reachable == {(name, name) for name in names}
    by_id = {number: name for name, number in traces.items()}
    for name in names:
        assert {by_id.get(number, name) for number in read[name]["listed"]} == {name}
        assert read[name]["projects"] == [name]


def test_no_pair_opens_more_than_its_project(tenants: list[Tenant]) -> None:
    """Half of one's own and half of another's public keys, guesses at LiteLLM's, and what an administrator may do."""
    publics = [Secrets.open("lab", CHECKOUT / "secrets").provided(FIRST.keys.public)]
    publics += [programs(tenant, "print(json.dumps(public))") for tenant in tenants]
    for tenant in tenants:
        found = programs(tenant, OPEN, publics=publics)
        for what, state in found.items():
            if what.startswith("theirs with my secret"):
                # The secret key alone decides (Langfuse's own way): it opens what is its own.
                assert state in ([], [tenant.project.name]), (tenant.project.name, what)
            else:
                assert state in (401, 403, 404), (tenant.project.name, what)


def sql(machine: Machine, statement: str) -> str:
    psql = f"docker exec -i {POSTGRES} psql -XqAt -v ON_ERROR_STOP=1 -U postgres langfuse"
    return machine.run(psql, input=statement).stdout.strip()


def pairs(machine: Machine) -> dict[str, dict[str, Any]]:
    """Langfuse's rows of keys, by the public one."""
    rows = json.loads(sql(machine, "SELECT json_agg(api_keys) FROM api_keys"))
    return {row["public_key"]: row for row in rows}


def test_what_others_add_is_named_and_left_alone(
    machine: Machine, deploy: Callable[..., CompletedRun]
) -> None:
    """A project, a pair, a member and an administrator, made past us."""
    sql(
        machine,
        "INSERT INTO projects (id, name, org_id) VALUES ('by-hand', 'By hand', 'sourcefast');"
        "INSERT INTO api_keys (id, public_key, hashed_secret_key, display_secret_key, project_id)"
        " VALUES ('by-hand', 'pk-lf-by-hand', 'none', 'sk-lf-...none', 'sourcefast');"
        "INSERT INTO users (id, email, admin) VALUES ('by-hand', 'guest@example.org', true);"
        "INSERT INTO organization_memberships (id, org_id, user_id, role)"
        " VALUES ('by-hand', 'sourcefast', 'by-hand', 'VIEWER');",
    )
    try:
        done = deploy()
        assert done.changed == []
        for sentence in (
            "by-hand (By hand)",
            "pk-lf-by-hand (of sourcefast)",
            "guest@example.org (VIEWER of sourcefast)",
        ):
            assert sentence in done.output
        assert "administrators of Langfuse that are not declared: guest@example.org" in done.output
        assert sql(machine, "SELECT count(*) FROM api_keys WHERE id = 'by-hand'") == "1"
    finally:
        sql(
            machine,
            "DELETE FROM users WHERE id = 'by-hand'; DELETE FROM api_keys WHERE id = 'by-hand';"
            "DELETE FROM projects WHERE id = 'by-hand';",
        )


def test_a_rotated_pair_takes_the_place_of_the_old_one(
    datastores: Datastores, machine: Machine, deploy: Callable[..., CompletedRun], tenants: list[Tenant]
) -> None:
    """Though Langfuse has the old one in its cache; a pair that a run left half removed goes as well."""
    tenant = next(one for one in tenants if one.project.name == "coach-credit")
    keys = tenant.project.trace_keys
    old = (datastores.password(keys.public), datastores.password(keys.secret))
    assert programs(tenant, 'print(json.dumps(ask("projects")[0]))') == 200
    number = pairs(machine)[old[0]]["id"]
    kept = Secrets.open("lab", CHECKOUT / "secrets")
    kept.forget(keys.secret)
    assert deploy().rc == 0
    assert datastores.password(keys.secret) != old[1]
    program = 'print(json.dumps([ask("projects")[0], ask("projects", None, *arguments["old"])[0]]))'
    state = programs(tenant, program, old=old)
    assert state == [200, 401]
    left = [pair["id"] for pair in pairs(machine).values() if (pair["note"] or "").startswith(REMOVED)]
    assert left == [] and pairs(machine)[old[0]]["id"] != number
    assert deploy().changed == []


def test_langfuse_hashes_secret_keys_as_we_do(machine: Machine, datastores: Datastores) -> None:
    """By the pair that it made itself, at its first start, or that we have made since."""
    hashed = quick_hash(datastores.password(FIRST.keys.secret), datastores.password(FIRST.salt))
    assert pairs(machine)[datastores.password(FIRST.keys.public)]["fast_hashed_secret_key"] == hashed

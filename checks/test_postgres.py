"""shared-postgres: settings, roles, databases, rights (requirements 5)."""

from __future__ import annotations

import pytest

from blueprint import postgres
from blueprint.compose import HBA
from blueprint.model import Database
from blueprint.names import POSTGRES
from checks.expect import expect, fail
from checks.server import Server
from facts.postgres import Cluster, ClusterState
from operations.postgres_difference import SUPERUSER, hba_differs, settings_difference
from specs.problems import Problem

pytestmark = pytest.mark.litellm

AGAIN = "run the deploy again: it repairs roles, grants and settings"
ORDINARY = frozenset({"login", "inherit"})
MIGHTY = frozenset({"superuser", "createdb", "createrole", "replication", "bypassrls"})


@pytest.fixture
def cluster(server: Server) -> ClusterState:
    """The server, which has to answer."""
    state = server.settled(
        lambda: server.fact(Cluster, container=POSTGRES), lambda found: found.version is None
    )
    if state.version is None:
        fail(
            [
                Problem(
                    POSTGRES, state.refusal or "no answer", "an answer", f"docker logs --tail 20 {POSTGRES}"
                )
            ]
        )
    return state


def test_settings_are_in_force(server: Server, cluster: ClusterState) -> None:
    """The running server has every declared setting, and nothing that ALTER SYSTEM put over them."""
    declared = postgres.settings(server.blueprint.postgres)
    wrong, altered = settings_difference(declared, cluster)
    found = {name: cluster.settings[name].value if name in cluster.settings else "built-in" for name in wrong}
    expect("settings", found, {name: declared[name] for name in wrong}, AGAIN)
    expect("set by ALTER SYSTEM", altered, [], AGAIN)


def test_no_setting_waits_for_a_restart(cluster: ClusterState) -> None:
    """What the files say is what the server runs with."""
    waiting = [name for name, setting in cluster.settings.items() if setting.pending_restart]
    expect("pending restart", waiting, [], f"docker restart {POSTGRES}, when nobody works")


def test_who_may_log_in_from_where(cluster: ClusterState) -> None:
    """pg_hba.conf is ours."""
    expect("pg_hba.conf is another file", hba_differs(HBA.read_text(), cluster), False, AGAIN)


def test_roles_have_their_limits(server: Server, cluster: ClusterState) -> None:
    """Every declared role may log in, do nothing else of its own, and has its share of the connections."""
    blueprint = server.blueprint
    limits = postgres.connection_limits(blueprint.postgres, blueprint.databases)
    expected = {name: (ORDINARY, limits[name]) for name in postgres.roles(server.applied.databases)}
    found = {
        name: (role.attributes, role.connection_limit)
        for name, role in cluster.roles.items()
        if name in expected
    }
    expect("roles: attributes, connections", found, expected, AGAIN)


def test_roles_are_members_of_nothing_else(server: Server, cluster: ClusterState) -> None:
    """Only the monitor is a member of a role, and none has a password that ends."""
    expected = dict.fromkeys(postgres.roles(server.applied.databases), (frozenset[str](), None))
    expected[postgres.MONITOR] = (frozenset({"pg_monitor"}), None)
    found = {
        name: (role.member_of, None if role.valid_until == "infinity" else role.valid_until)
        for name, role in cluster.roles.items()
        if name in expected
    }
    expect("roles: memberships, end of the password", found, expected, AGAIN)


def test_nobody_else_has_power(server: Server, cluster: ClusterState) -> None:
    """Nobody but the superuser and the declared administrators has a right beyond a database of his own."""
    allowed = {SUPERUSER, *server.blueprint.postgres.administrators}
    found = {
        name: sorted(role.attributes & MIGHTY)
        for name, role in cluster.roles.items()
        if name not in allowed and role.attributes & MIGHTY
    }
    expect("roles with power", found, {}, "DROP ROLE, or name it in `postgres.administrators`")


def test_nothing_reaches_beyond_a_database(cluster: ClusterState) -> None:
    """No function runs as the superuser, no foreign server, event trigger or untrusted language is there."""
    found = {name: database.powers for name, database in cluster.databases.items() if database.powers}
    expect("powers", found, {}, "who made it? DROP it in that database")


def test_database_is_its_owner_s(cluster: ClusterState, database: Database) -> None:
    """The database has its owner, the encoding, and takes connections."""
    found = cluster.databases.get(database.name)
    state = (found.owner, found.encoding, found.allows_connections) if found else "missing"
    expect(f"database {database.name}", state, (database.role, "UTF8", True), AGAIN)


def test_database_has_its_extensions(cluster: ClusterState, database: Database) -> None:
    """Its extensions are installed in the version that the server has, so that no upgrade is half done."""
    found = cluster.databases[database.name].extensions
    states = {name: found.get(name, "missing") for name in database.extensions}
    expected = {name: cluster.available.get(name, "not on this server") for name in database.extensions}
    expect(f"extensions of {database.name}", states, expected, AGAIN)


def test_database_is_closed_to_others(cluster: ClusterState, database: Database) -> None:
    """Only its owner, its declared roles and the monitor may connect; everybody (PUBLIC) may not."""
    connect = frozenset({"CONNECT"})
    expected = dict.fromkeys((*database.connect_roles, postgres.MONITOR), connect)
    found = {who or "PUBLIC": rights for who, rights in cluster.databases[database.name].grants.items()}
    owner = found.pop(database.role, frozenset())
    expect(f"grants on {database.name}", found, expected, AGAIN)
    expect(f"owner may connect to {database.name}", "CONNECT" in owner, True, AGAIN)


def test_database_s_objects_are_its_owner_s(cluster: ClusterState, database: Database) -> None:
    """No schema, table or function in it belongs to another role."""
    others = cluster.databases[database.name].owners - {database.role, SUPERUSER}
    expect(f"owners of objects in {database.name}", others, frozenset(), "REASSIGN OWNED BY … TO its owner")

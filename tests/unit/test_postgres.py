"""The cluster's fact and the operations on it, both ways: a difference gives statements, none gives none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError, OperationError, OperationValueError

from blueprint import scram
from facts import postgres as found
from facts.postgres import Cluster, ClusterState, Setting, read_cluster
from operations import postgres
from operations.checks import ASKED_AGAIN_S
from operations.postgres import Database, Role, difference, settings_difference
from operations.script import Script
from tests.unit.hosts import InTurn, commands, scripted_host

RECORDED = (Path(__file__).parent / "fixtures" / "postgres.txt").read_text().splitlines()
SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="


def role(name: str, password: str = "pencil", member_of: tuple[str, ...] = ()) -> Role:  # noqa: S107 - a test's
    return Role(name, scram.verifier(password, SALT), member_of)


OWNER, MONITOR = role("renov_bati"), role("monitor", member_of=("pg_monitor",))
WANTED = Database("renov_bati", OWNER, ("postgis", "vector"), (MONITOR,))


def as_declared() -> ClusterState:
    """The recorded cluster, with our passwords."""
    state = read_cluster(RECORDED)
    ours = {
        each.name: replace(state.roles[each.name], password_sha256=each.sha256) for each in (OWNER, MONITOR)
    }
    return replace(state, roles={**state.roles, **ours})


def with_database(**values: Any) -> ClusterState:
    state = as_declared()
    changed = replace(state.databases["renov_bati"], **values)
    return replace(state, databases={**state.databases, "renov_bati": changed})


def with_role(**values: Any) -> ClusterState:
    state = as_declared()
    return replace(state, roles={**state.roles, "renov_bati": replace(state.roles["renov_bati"], **values)})


def statements(state: ClusterState) -> list[str]:
    return [change.sql for change in difference([WANTED], [MONITOR], state)]


# --- the fact


def test_a_recorded_cluster_is_read() -> None:
    state = read_cluster(RECORDED)
    assert state.version == "17.11 (Debian 17.11-0+deb13u1)"
    assert state.roles["monitor"].member_of == {"pg_monitor"}
    assert state.roles["nango"].attributes == {"login", "inherit"}
    database = state.databases["renov_bati"]
    assert database.extensions == {"plpgsql": "1.0", "postgis": "3.5.2", "vector": "0.8.0"}
    assert database.grants["monitor"] == {"CONNECT"}
    assert None not in database.grants
    assert "buildings" in database.relations
    assert state.settings["timezone"] == Setting("UTC", "/etc/postgresql/postgresql.conf")


def test_no_docker_no_container_or_no_answer_is_no_server() -> None:
    assert read_cluster([]) == read_cluster(["@@cluster"]) == Cluster.default() == ClusterState()


def test_an_answer_that_is_none_is_an_error() -> None:
    with pytest.raises(FactProcessError):
        read_cluster(["@@cluster", "{"])


# --- databases and roles


def test_nothing_is_said_to_a_cluster_that_is_as_declared() -> None:
    assert statements(as_declared()) == []
    assert commands(postgres.databases, {Cluster: as_declared()}, "shared-postgres", [WANTED]) == []


def test_everything_is_made_where_nothing_is() -> None:
    assert statements(ClusterState()) == [
        f"CREATE ROLE \"monitor\" LOGIN PASSWORD '{MONITOR.verifier}'",
        'GRANT "pg_monitor" TO "monitor"',
        f"CREATE ROLE \"renov_bati\" LOGIN PASSWORD '{OWNER.verifier}'",
        'CREATE DATABASE "renov_bati" OWNER "renov_bati" TEMPLATE template0 ENCODING \'UTF8\'',
        'REVOKE CONNECT, TEMPORARY ON DATABASE "renov_bati" FROM PUBLIC',
        'GRANT CONNECT ON DATABASE "renov_bati" TO "monitor"',
        'CREATE EXTENSION "postgis" CASCADE',
        'CREATE EXTENSION "vector" CASCADE',
    ]


@pytest.mark.parametrize(
    ("values", "statement"),
    [
        ({"password_sha256": "another"}, f"ALTER ROLE \"renov_bati\" PASSWORD '{OWNER.verifier}'"),
        ({"password_sha256": None}, f"ALTER ROLE \"renov_bati\" PASSWORD '{OWNER.verifier}'"),
        (
            {"attributes": frozenset({"login", "superuser"})},
            'ALTER ROLE "renov_bati" LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS',
        ),
        ({"connection_limit": 0}, 'ALTER ROLE "renov_bati" CONNECTION LIMIT -1'),
        ({"valid_until": "2020-01-01T00:00:00"}, "ALTER ROLE \"renov_bati\" VALID UNTIL 'infinity'"),
        ({"member_of": frozenset({"nango"})}, 'REVOKE "nango" FROM "renov_bati"'),
    ],
)
def test_a_role_that_drifted_is_put_back(values: dict[str, Any], statement: str) -> None:
    assert statements(with_role(**values)) == [statement]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"owner": "nango"}, ['ALTER DATABASE "renov_bati" OWNER TO "renov_bati"']),
        ({"allows_connections": False}, ['ALTER DATABASE "renov_bati" ALLOW_CONNECTIONS true']),
        ({"connection_limit": 0}, ['ALTER DATABASE "renov_bati" CONNECTION LIMIT -1']),
        ({"extensions": {"postgis": "3.5.2"}}, ['CREATE EXTENSION "vector" CASCADE']),
        ({"extensions": {"postgis": "3.4.0", "vector": "0.8.0"}}, ['ALTER EXTENSION "postgis" UPDATE']),
        (
            {
                "grants": {
                    None: frozenset({"CONNECT"}),
                    "renov_bati": frozenset({"CONNECT", "CREATE", "TEMPORARY"}),
                }
            },
            [
                'REVOKE CONNECT ON DATABASE "renov_bati" FROM PUBLIC',
                'GRANT CONNECT ON DATABASE "renov_bati" TO "monitor"',
            ],
        ),
        (
            {
                "grants": {
                    'odd"role': frozenset({"CREATE"}),
                    "monitor": frozenset({"CONNECT", "CREATE"}),
                    "renov_bati": frozenset({"CONNECT", "CREATE", "TEMPORARY"}),
                }
            },
            [
                'REVOKE CREATE ON DATABASE "renov_bati" FROM "monitor"',
                'REVOKE CREATE ON DATABASE "renov_bati" FROM "odd""role"',
            ],
        ),
    ],
)
def test_a_database_that_drifted_is_put_back(values: dict[str, Any], wanted: list[str]) -> None:
    assert statements(with_database(**values)) == wanted


def test_public_is_kept_out_of_the_servers_own_databases() -> None:
    state = as_declared()
    opened = replace(state.databases["template1"], grants={None: frozenset({"CONNECT"})})
    state = replace(state, databases={**state.databases, "template1": opened})
    assert statements(state) == ['REVOKE CONNECT ON DATABASE "template1" FROM PUBLIC']


def test_what_cannot_be_changed_in_place_stops_the_run() -> None:
    with pytest.raises(OperationError, match="encoding SQL_ASCII, wanted UTF8"):
        statements(with_database(encoding="SQL_ASCII"))
    with pytest.raises(OperationError, match="extension timescaledb is not among"):
        difference([replace(WANTED, extensions=("timescaledb",))], (), as_declared())


def test_nothing_is_ever_dropped() -> None:
    state = as_declared()
    stray = found.Database("stray", "nango", grants={None: frozenset({"CONNECT"})})
    assert statements(replace(state, databases={**state.databases, "stray": stray})) == []
    assert difference([], [], state) == []


def test_a_role_cannot_be_two_things() -> None:
    with pytest.raises(OperationValueError, match="role renov_bati is declared twice"):
        difference([WANTED], [role("renov_bati", "another")], ClusterState())


# --- how it is said


@pytest.mark.parametrize(
    ("name", "quoted"), [("plain", '"plain"'), ('a"b', '"a""b"'), ("a'; DROP", '"a\'; DROP"'), ("ü ", '"ü "')]
)
def test_names_are_quoted(name: str, quoted: str) -> None:
    assert postgres.identifier(name) == quoted


@pytest.mark.parametrize(
    ("text", "quoted"), [("plain", "'plain'"), ("it's", "'it''s'"), ("\\'", " E'\\\\'''"), ("$$", "'$$'")]
)
def test_texts_are_quoted(text: str, quoted: str) -> None:
    assert postgres.literal(text) == quoted


@pytest.mark.parametrize("name", ["", "a" * 64, "a\0b", "a\nb"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(OperationValueError):
        role(name)


@pytest.mark.parametrize("name", ["dbname=postgres", "postgresql://elsewhere"])
def test_a_name_that_psql_takes_for_a_connection_is_refused(name: str) -> None:
    with pytest.raises(OperationValueError):
        Database(name, OWNER)


@pytest.mark.parametrize(
    "verifier", ["pencil", "md5abc", "SCRAM-SHA-256$4096:a$b:c", "SCRAM-SHA-256$0:a$b'; DROP"]
)
def test_only_a_verifier_is_set_as_a_password(verifier: str) -> None:
    with pytest.raises(OperationValueError) as refused:
        Role("renov_bati", verifier)
    assert verifier not in str(refused.value)


def test_verifiers_are_on_standard_input_alone() -> None:
    [command] = commands(postgres.databases, {Cluster: ClusterState()}, "shared-postgres", [WANTED])
    assert isinstance(command, Script)
    assert OWNER.verifier in command.payload
    assert OWNER.verifier not in command.get_raw_value()
    assert OWNER.verifier not in repr(OWNER) + repr(difference([WANTED], [], ClusterState()))
    assert command.payload.startswith("SET log_statement = 'none'")


def test_extensions_are_made_in_their_database() -> None:
    lines = postgres.sql(difference([WANTED], [], ClusterState())).splitlines()
    assert lines.index('\\connect "renov_bati"') < lines.index('CREATE EXTENSION "vector" CASCADE;')
    assert lines.index('\\connect "renov_bati"') > lines.index(
        'GRANT CONNECT ON DATABASE "renov_bati" TO "monitor";'
    )


def test_progress_cannot_be_taken_for_a_command() -> None:
    change = postgres.Change("it's \\! reboot", "SELECT 1")
    assert postgres.sql([change]).splitlines()[-1] == "\\echo 'it''s \\\\! reboot'"


# --- schema

SCHEMA = """\
CREATE TABLE IF NOT EXISTS buildings (id int);
create unique index if not exists "Place" on buildings (id);
"""


def test_what_a_schema_creates_is_read_from_it() -> None:
    assert postgres.created(SCHEMA) == {"buildings", "Place"}


def test_a_schema_is_run_once_and_again_when_it_or_the_database_changes(tmp_path: Path) -> None:
    file = tmp_path / "schema.sql"
    file.write_text("CREATE TABLE IF NOT EXISTS buildings (id int);\n")
    arguments = ("shared-postgres", "renov_bati", "renov_bati", str(file))
    [command] = commands(postgres.schema, {Cluster: as_declared()}, *arguments)
    comment = next(line for line in command.payload.splitlines() if "COMMENT ON" in line).split("'")[1]
    assert 'SET LOCAL ROLE "renov_bati";' in command.payload
    assert commands(postgres.schema, {Cluster: with_database(comment=comment)}, *arguments) == []
    gone = with_database(comment=comment, relations=frozenset())
    assert len(commands(postgres.schema, {Cluster: gone}, *arguments)) == 1
    file.write_text("CREATE TABLE IF NOT EXISTS buildings (id bigint);\n")
    assert len(commands(postgres.schema, {Cluster: with_database(comment=comment)}, *arguments)) == 1


def test_a_schema_has_no_commands_of_psql(tmp_path: Path) -> None:
    file = tmp_path / "schema.sql"
    file.write_text("  \\! reboot\n")
    with pytest.raises(OperationValueError):
        commands(postgres.schema, {}, "shared-postgres", "renov_bati", "renov_bati", str(file))


# --- settings


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("1024kB", "1MB", True),
        ("60s", "1min", True),
        ("100", "100", True),
        ("1.1", "1.10", True),
        ("100", "100MB", False),
        ("1MB", "1GB", False),
        ("on", "off", False),
    ],
)
def test_values_are_compared_by_what_they_mean(one: str, other: str, alike: bool) -> None:
    assert postgres.same(one, other) is alike


def test_a_server_that_does_not_answer_at_once_is_asked_again(waited: list[float]) -> None:
    answers = InTurn([ClusterState(), as_declared()])
    assert commands(postgres.settings, {Cluster: answers}, "shared-postgres", {"timezone": "UTC"}) == []
    assert waited == [ASKED_AGAIN_S]
    with scripted_host({Cluster: ClusterState()}, executing=False):
        assert list(postgres.settings._inner("shared-postgres", {"timezone": "UTC"}))
    assert waited == [ASKED_AGAIN_S], "a run that is prepared may be the one that brings it"


def test_settings_as_wanted_are_left_alone() -> None:
    wanted = {"shared_buffers": "131072kB", "timezone": "UTC"}
    assert settings_difference(wanted, as_declared()) == ([], [])
    assert commands(postgres.settings, {Cluster: as_declared()}, "shared-postgres", wanted) == []


@pytest.mark.parametrize(
    ("found_setting", "overridden"),
    [
        (Setting("64MB", "/etc/postgresql/postgresql.conf"), []),
        (Setting("128MB", "/etc/postgresql/postgresql.conf", pending_restart=True), []),
        (Setting("128MB", "/var/lib/postgresql/data/cluster/postgresql.auto.conf"), ["shared_buffers"]),
    ],
)
def test_settings_that_drifted_are_read_again(found_setting: Setting, overridden: list[str]) -> None:
    state = replace(as_declared(), settings={"shared_buffers": found_setting})
    wanted = {"shared_buffers": "128MB"}
    assert settings_difference(wanted, state) == (["shared_buffers"], overridden)
    [command] = commands(postgres.settings, {Cluster: state}, "shared-postgres", wanted)
    assert command.payload == "".join(f"ALTER SYSTEM RESET {name};\n" for name in overridden)


# --- the check


def problems(state: ClusterState) -> list[Any]:
    with scripted_host({Cluster: state}):
        return list(postgres.postgres._inner("shared-postgres", [WANTED], {"jit": "off"}))


def test_a_cluster_as_declared_passes_and_says_so_without_a_command() -> None:
    assert problems(as_declared()) == []


@pytest.mark.parametrize(
    "state",
    [
        ClusterState(),
        with_role(attributes=frozenset()),
        with_database(owner="nango"),
        replace(as_declared(), settings={"jit": Setting("on")}),
    ],
)
def test_a_cluster_that_is_otherwise_fails(state: ClusterState) -> None:
    assert len(problems(state)) == 1


def test_a_database_that_nothing_declares_is_told_and_fails_nothing() -> None:
    with scripted_host({Cluster: as_declared()}) as host:
        assert list(postgres.tell_undeclared._inner("shared-postgres", ["renov_bati"])) == []
        assert (host.noops, host.logged) == (["nothing to tell"], [])
        assert list(postgres.tell_undeclared._inner("shared-postgres", [])) == []
    (said,) = host.logged
    assert said.startswith("databases of shared-postgres that are not declared: renov_bati;")

"""The cluster's fact and the operations on it, both ways: a difference gives statements, none gives none."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError, OperationError

from blueprint import scram
from facts import postgres as postgres_facts
from facts.postgres import Cluster, ClusterState, Override, SettingState, read_cluster
from operations import postgres, postgres_difference, postgres_rights, postgres_sql
from operations.checks import ASKED_AGAIN_S
from operations.postgres_difference import difference, settings_difference
from operations.script import Script
from specs.postgres import LoginRole, OwnedDatabase
from tests.unit.bench import Bench
from tests.unit.hosts import InTurn, commands, scripted_host
from tests.unit.paths import FIXTURES

RECORDED = (FIXTURES / "postgres.txt").read_text().splitlines()
SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="


def role(
    name: str,
    password: str = "pencil",  # noqa: S107 - a test's
    member_of: tuple[str, ...] = (),
    connection_limit: int = -1,
) -> LoginRole:
    return LoginRole(name, scram.verifier(password, SALT), member_of, connection_limit)


OWNER, MONITOR = role("renov_bati"), role("monitor", member_of=("pg_monitor",))
DESIRED = OwnedDatabase("renov_bati", OWNER, ("postgis", "vector"), (MONITOR,))


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
    return [change.sql for change in difference([DESIRED], [MONITOR], state)]


# --- the fact


def test_a_recorded_cluster_is_read() -> None:
    state = read_cluster(RECORDED)
    assert state.version == "17.11 (Debian 17.11-0+deb13u1)"
    assert state.roles["monitor"].member_of == {"pg_monitor"}
    assert state.roles["nango"].attributes == {"login", "inherit"}
    assert "pg_read_all_stats" in state.roles["pg_monitor"].member_of
    database = state.databases["renov_bati"]
    assert database.extensions == {"plpgsql": "1.0", "postgis": "3.5.2", "vector": "0.8.0"}
    assert database.grants["monitor"] == {"CONNECT"}
    assert None not in database.grants
    assert "buildings" in database.relations
    assert database.untrusted == {"postgis"}
    assert not database.powers and not database.owners
    assert state.settings["timezone"] == SettingState("UTC", "/etc/postgresql/postgresql.conf")


def test_no_docker_no_container_or_no_answer_is_no_server() -> None:
    assert read_cluster([]) == read_cluster(["@@cluster"]) == Cluster.default() == ClusterState()


def test_an_answer_that_is_none_is_an_error() -> None:
    with pytest.raises(FactProcessError):
        read_cluster(["@@cluster", "{"])


# --- databases and roles


def test_a_cluster_that_is_as_declared_gets_no_statement() -> None:
    assert statements(as_declared()) == []
    assert commands(postgres.databases, {Cluster: as_declared()}, "shared-postgres", [DESIRED]) == []


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
        (
            {"member_of": frozenset({"nango"}), "admin_of": frozenset({"nango"})},
            'REVOKE "nango" FROM "renov_bati"',
        ),
        ({"valid_until": "2020-01-01T00:00:00"}, "ALTER ROLE \"renov_bati\" VALID UNTIL 'infinity'"),
        ({"member_of": frozenset({"nango"})}, 'REVOKE "nango" FROM "renov_bati"'),
    ],
)
def test_a_role_that_drifted_is_put_back(values: dict[str, Any], statement: str) -> None:
    assert statements(with_role(**values)) == [statement]


@pytest.mark.parametrize(
    ("values", "desired"),
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
def test_a_database_that_drifted_is_put_back(values: dict[str, Any], desired: list[str]) -> None:
    assert statements(with_database(**values)) == desired


def test_nobody_is_let_into_the_servers_own_databases() -> None:
    state = as_declared()
    grants = {
        None: frozenset({"CONNECT"}),
        "nango": frozenset({"TEMPORARY"}),
        "postgres": frozenset({"CONNECT"}),
    }
    opened = replace(state.databases["template1"], grants=grants)
    state = replace(state, databases={**state.databases, "template1": opened})
    assert statements(state) == [
        'REVOKE CONNECT ON DATABASE "template1" FROM PUBLIC',
        'REVOKE TEMPORARY ON DATABASE "template1" FROM "nango"',
    ]


def test_a_role_has_its_share_of_the_connections() -> None:
    limited = replace(DESIRED, owner=role("renov_bati", connection_limit=12))
    assert difference([limited], [], ClusterState())[0].sql.startswith(
        'CREATE ROLE "renov_bati" LOGIN CONNECTION LIMIT 12 PASSWORD '
    )
    [change] = difference([limited], [MONITOR], as_declared())
    assert change.sql == 'ALTER ROLE "renov_bati" CONNECTION LIMIT 12'
    assert difference([limited], [MONITOR], with_role(connection_limit=12)) == []


def test_a_declared_member_does_not_hand_on_what_it_is_a_member_of() -> None:
    state = as_declared()
    handing = replace(state.roles["monitor"], admin_of=frozenset({"pg_monitor"}))
    assert statements(replace(state, roles={**state.roles, "monitor": handing})) == [
        'REVOKE ADMIN OPTION FOR "pg_monitor" FROM "monitor"'
    ]


@pytest.mark.parametrize(
    ("override", "statement"),
    [
        (Override(None, "postgres", "role"), 'ALTER ROLE "postgres" RESET ALL'),
        (
            Override("renov_bati", "monitor", "role"),
            'ALTER ROLE "monitor" IN DATABASE "renov_bati" RESET ALL',
        ),
        (Override("postgres", None, "search_path"), 'ALTER DATABASE "postgres" RESET ALL'),
        (Override(None, None, "work_mem"), "ALTER ROLE ALL RESET ALL"),
        (Override("renov_bati", None, "search_path"), None),  # its owner's matter
        (Override(None, "renov_bati", "search_path"), None),
    ],
)
def test_what_is_set_for_our_own_sessions_is_taken_back(override: Override, statement: str | None) -> None:
    state = replace(as_declared(), overrides=(override, override))
    assert statements(state) == ([statement] if statement else [])


def test_what_cannot_be_changed_in_place_stops_the_run() -> None:
    with pytest.raises(OperationError, match="encoding SQL_ASCII, expected UTF8"):
        statements(with_database(encoding="SQL_ASCII"))
    with pytest.raises(OperationError, match="extension timescaledb is not among"):
        difference([replace(DESIRED, extensions=("timescaledb",))], (), as_declared())


def test_nothing_is_ever_dropped() -> None:
    state = as_declared()
    stray = postgres_facts.DatabaseState("stray", "nango", grants={None: frozenset({"CONNECT"})})
    assert statements(replace(state, databases={**state.databases, "stray": stray})) == []
    assert difference([], [], state) == []


def test_a_role_cannot_be_two_things() -> None:
    with pytest.raises(ValueError, match="role renov_bati is declared twice"):
        difference([DESIRED], [role("renov_bati", "another")], ClusterState())


# --- how it is said


@pytest.mark.parametrize(
    ("name", "quoted"), [("plain", '"plain"'), ('a"b', '"a""b"'), ("a'; DROP", '"a\'; DROP"'), ("ü ", '"ü "')]
)
def test_names_are_quoted(name: str, quoted: str) -> None:
    assert postgres_sql.identifier(name) == quoted


@pytest.mark.parametrize(
    ("text", "quoted"), [("plain", "'plain'"), ("it's", "'it''s'"), ("\\'", " E'\\\\'''"), ("$$", "'$$'")]
)
def test_texts_are_quoted(text: str, quoted: str) -> None:
    assert postgres_sql.literal(text) == quoted


@pytest.mark.parametrize("name", ["", "a" * 64, "a\0b", "a\nb"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        role(name)


@pytest.mark.parametrize("name", ["dbname=postgres", "postgresql://elsewhere"])
def test_a_name_that_psql_takes_for_a_connection_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        OwnedDatabase(name, OWNER)


@pytest.mark.parametrize(
    "verifier", ["pencil", "md5abc", "SCRAM-SHA-256$4096:a$b:c", "SCRAM-SHA-256$0:a$b'; DROP"]
)
def test_only_a_verifier_is_set_as_a_password(verifier: str) -> None:
    with pytest.raises(ValueError) as refused:
        LoginRole("renov_bati", verifier)
    assert verifier not in str(refused.value)


def test_verifiers_are_on_standard_input_alone() -> None:
    [command] = commands(postgres.databases, {Cluster: ClusterState()}, "shared-postgres", [DESIRED])
    assert isinstance(command, Script)
    assert OWNER.verifier in command.payload
    assert OWNER.verifier not in command.get_raw_value()
    assert OWNER.verifier not in repr(OWNER) + repr(difference([DESIRED], [], ClusterState()))
    assert command.payload.startswith("SET log_statement = 'none'")


def test_extensions_are_made_in_their_database() -> None:
    lines = postgres_difference.sql(difference([DESIRED], [], ClusterState())).splitlines()
    assert lines.index('\\connect "renov_bati"') < lines.index('CREATE EXTENSION "vector" CASCADE;')
    assert lines.index('\\connect "renov_bati"') > lines.index(
        'GRANT CONNECT ON DATABASE "renov_bati" TO "monitor";'
    )


def test_progress_cannot_be_taken_for_a_command() -> None:
    change = postgres_difference.ClusterChange("it's \\! reboot", "SELECT 1")
    assert postgres_difference.sql([change]).splitlines()[-1] == "\\echo 'it''s \\\\! reboot'"


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
    with pytest.raises(ValueError):
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
    assert postgres_difference.same(one, other) is alike


def test_why_a_server_does_not_answer_is_reported(bench: Bench) -> None:
    bench.program(
        "docker", "cat >/dev/null; echo 'psql: error: the database system is starting up' >&2; exit 2"
    )
    state = read_cluster(bench.run("facts/postgres.sh", "shared-postgres").stdout.splitlines())
    assert (state.version, state.refusal) == (None, "psql: error: the database system is starting up")
    (step,) = problems(state)
    assert "the database system is starting up" in step.args[0]


def test_a_server_that_does_not_answer_at_once_is_asked_again(waited: list[float]) -> None:
    answers = InTurn([ClusterState(), as_declared()])
    assert commands(postgres.settings, {Cluster: answers}, "shared-postgres", {"timezone": "UTC"}) == []
    assert waited == [ASKED_AGAIN_S]
    with scripted_host({Cluster: ClusterState()}, executing=False):
        assert list(postgres.settings._inner("shared-postgres", {"timezone": "UTC"}))
    assert waited == [ASKED_AGAIN_S], "a run that is prepared may be the one that brings it"


def test_settings_as_desired_are_left_alone() -> None:
    desired = {"shared_buffers": "131072kB", "timezone": "UTC"}
    assert settings_difference(desired, as_declared()) == ([], [])
    assert commands(postgres.settings, {Cluster: as_declared()}, "shared-postgres", desired) == []


@pytest.mark.parametrize(
    ("found_setting", "altered", "reset"),
    [
        (SettingState("64MB", "/etc/postgresql/postgresql.conf"), [], ""),
        (SettingState("128MB", "/etc/postgresql/postgresql.conf", pending_restart=True), [], ""),
        (
            SettingState("128MB", "/var/lib/postgresql/data/cluster/postgresql.auto.conf"),
            ["shared_buffers"],
            'ALTER SYSTEM RESET "shared_buffers";\n',
        ),
    ],
)
def test_settings_that_drifted_are_read_again(
    found_setting: SettingState, altered: list[str], reset: str
) -> None:
    state = replace(as_declared(), settings={"shared_buffers": found_setting}, altered=frozenset(altered))
    desired = {"shared_buffers": "128MB"}
    assert settings_difference(desired, state) == (["shared_buffers"], altered)
    [command] = commands(postgres.settings, {Cluster: state}, "shared-postgres", desired)
    assert command.payload == reset


def test_what_was_set_over_the_file_is_taken_back_declared_or_not() -> None:
    state = replace(as_declared(), altered=frozenset({"archive_command", "shop.key"}))
    [command] = commands(postgres.settings, {Cluster: state}, "shared-postgres", {})
    assert command.payload == 'ALTER SYSTEM RESET "archive_command";\nALTER SYSTEM RESET "shop"."key";\n'


def test_the_file_that_says_who_logs_in_has_to_be_ours() -> None:
    assert commands(
        postgres.settings, {Cluster: as_declared()}, "shared-postgres", {}, "local all all trust\n"
    )
    with scripted_host({Cluster: as_declared()}):
        assert len(list(postgres.postgres._inner("shared-postgres", hba="local all all trust\n"))) == 1
    ours = replace(as_declared(), hba_sha256=hashlib.sha256(b"ours\n").hexdigest())
    assert commands(postgres.settings, {Cluster: ours}, "shared-postgres", {}, "ours\n") == []


# --- the check


def problems(state: ClusterState) -> list[Any]:
    with scripted_host({Cluster: state}):
        return list(postgres.postgres._inner("shared-postgres", [DESIRED], {"jit": "off"}))


def test_a_cluster_as_declared_passes_and_says_so_without_a_command() -> None:
    assert problems(as_declared()) == []


@pytest.mark.parametrize(
    "state",
    [
        ClusterState(),
        with_role(attributes=frozenset()),
        with_database(owner="nango"),
        replace(as_declared(), settings={"jit": SettingState("on")}),
        replace(as_declared(), altered=frozenset({"archive_command"})),
    ],
)
def test_a_cluster_that_is_otherwise_fails(state: ClusterState) -> None:
    assert len(problems(state)) == 1


# --- who else has rights


def named(state: ClusterState, *administrators: str) -> tuple[list[str], list[str]]:
    """What is a problem, and what is only said. nango is declared, too."""
    arguments: Any = (
        "shared-postgres",
        [DESIRED, OwnedDatabase("nango", role("nango"))],
        ["monitor"],
        administrators,
        state,
    )
    found = [f"{each.what}: {each.found}" for each in postgres_rights.right_problems(*arguments)]
    return found, list(postgres_rights.stray_sentences(*arguments))


def stray(name: str = "stray", **values: Any) -> ClusterState:
    state = as_declared()
    return replace(state, roles={**state.roles, name: postgres_facts.RoleState(name, **values)})


def test_a_cluster_that_has_only_what_is_declared_is_not_reported() -> None:
    assert named(as_declared()) == ([], [])


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (stray(attributes=frozenset({"login", "superuser"})), "role stray of shared-postgres: superuser"),
        (stray(attributes=frozenset({"replication"})), "role stray of shared-postgres: replication"),
        (
            stray(attributes=frozenset({"createdb", "createrole", "bypassrls"})),
            "role stray of shared-postgres: createrole, createdb, bypassrls",
        ),
        (stray(member_of=frozenset({"renov_bati"})), "role stray of shared-postgres: member of renov_bati"),
        (
            stray("pg_monitor", member_of=frozenset({"pg_read_all_stats", "pg_execute_server_program"})),
            "role pg_monitor of shared-postgres: member of pg_execute_server_program",
        ),
        (
            replace(as_declared(), parameters=(("nango", "SET ON PARAMETER log_statement"),)),
            "role nango of shared-postgres: SET ON PARAMETER log_statement",
        ),
        (
            replace(as_declared(), subscriptions=frozenset({"copy in nango"})),
            "subscription copy in nango of shared-postgres: there",
        ),
        (
            replace(as_declared(), slots=frozenset({"leak"})),
            "replication slot leak of shared-postgres: there",
        ),
        (
            with_database(powers=("function f() as postgres",)),
            "database renov_bati of shared-postgres: function f() as postgres",
        ),
        (
            with_database(untrusted=frozenset({"postgis", "vector", "dblink"})),
            "database renov_bati of shared-postgres: extension dblink, which reaches beyond it",
        ),
    ],
)
def test_what_gives_power_over_others_is_a_problem(state: ClusterState, problem: str) -> None:
    assert named(state) == ([problem], [])


def test_an_administrator_that_a_person_made_is_named_once_and_for_all() -> None:
    state = stray("dba", attributes=frozenset({"login", "superuser"}), member_of=frozenset({"pg_monitor"}))
    assert named(state, "dba") == ([], [])


def test_what_harms_nobody_is_reported_and_fails_nothing() -> None:
    state = stray("idle")
    state = replace(
        state,
        databases={
            **state.databases,
            "left": postgres_facts.DatabaseState("left", "idle", untrusted=frozenset({"vector"})),
            "renov_bati": replace(state.databases["renov_bati"], owners=frozenset({"postgres"})),
        },
        overrides=(
            Override("renov_bati", None, "search_path"),
            Override("renov_bati", None, "migration.source"),  # our own
            Override(None, "monitor", "role"),  # repaired
        ),
        tablespaces=frozenset({"elsewhere"}),
    )
    problems, output = named(state)
    assert problems == []
    assert [sentence.partition(";")[0] for sentence in output] == [
        "databases of shared-postgres that are not declared: left",
        "roles of shared-postgres that are not declared: idle",
        "database renov_bati of shared-postgres: found tables, schemas or functions of postgres, which its owner "
        "cannot change",
        "database renov_bati of shared-postgres has its own search_path: that is its owner's matter, and no session "
        "of ours takes it",
        "tablespaces of shared-postgres that nothing declares: elsewhere",
    ]


# --- what a superuser's session takes of a database's settings


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("facts/postgres.sh", ("shared-postgres",)),
        ("facts/postgres-vectors.sh", ("shared-postgres", "shop")),
        ("database/psql.sh", ("shared-postgres",)),
    ],
)
def test_no_session_of_the_superuser_takes_an_owners_search_path_or_role(
    bench: Bench, script: str, arguments: tuple[str, ...]
) -> None:
    """With them, an owner has its questions answered by functions of his own, as the superuser."""
    # Variables that are given to `docker exec`, then what is run: a shell, or psql itself.
    bench.program(
        "docker",
        'shift; while case $1 in --env) export "$2"; shift ;; -*) ;; *) false ;; esac; do shift; done; shift; "$@"',
    )
    bench.program("pg_isready", "")
    bench.program("psql", 'log "${PGDATABASE:-}|${PGOPTIONS:-}"; cat >/dev/null; echo shop')
    assert bench.run(script, *arguments).returncode == 0
    sessions = [call.split("|") for call in bench.calls]
    assert sessions
    for database, options in sessions:
        # The server's own database is nobody else's. Where nothing says otherwise, pg_catalog comes before public.
        assert database == "postgres" or re.match("-c search_path=(pg_catalog|public) -c role=none", options)

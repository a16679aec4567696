"""Databases, pools and indexes as declared, and the files that follow from them."""

from __future__ import annotations

import configparser
import hashlib
import re
from collections.abc import Sequence
from typing import Any

import pytest

from blueprint import postgres, redis
from blueprint.model.datastores import Database, PgBouncer, PostgresServer, RedisIndex, RedisServer
from blueprint.problems import DeclarationError
from tests.unit.declared import declared

DATABASES = (
    Database("litellm", pool=2, direct=10),
    Database("renov_bati", ("postgis", "vector"), pool=8),
    Database("voicejury_db", owner="voicejury", connect_roles=("renov_bati",)),
)
VALKEY = RedisServer()
INDEXES = (
    RedisIndex(0, "queues of augmenter", ("augmenter",)),
    RedisIndex(6, "queues of coach-credit", ("coach-credit",)),
    RedisIndex(7, "Celery results", ("augmenter", "voicejury")),
)


# --- declarations


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"name": "coach-credit"}, "name"),
        ({"name": "postgres"}, "name"),
        ({"name": "coach_credit", "owner": ""}, "owner"),
        ({"name": "coach_credit", "owner": "Robert'); DROP"}, "owner"),
        ({"name": "coach_credit", "extensions": ("vector;",)}, "extensions"),
        ({"name": "coach_credit", "connect_roles": ("coach_credit",)}, "connect_roles"),
        ({"name": "coach_credit", "pool": 0}, "pool"),
        ({"name": "coach_credit", "direct": -1}, "direct"),
    ],
)
def test_a_database_that_makes_no_sense_is_refused(values: dict[str, Any], key: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        Database(**values)
    assert any(problem.key.removesuffix("[0]").endswith(f".{key}") for problem in refused.value.problems)


def test_a_database_belongs_to_a_role_of_its_own_name_unless_it_says_otherwise() -> None:
    assert [database.role for database in DATABASES] == ["litellm", "renov_bati", "voicejury"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: RedisIndex(16, "beyond", ("a",)),
        lambda: RedisIndex(1, "ours", ("admin",)),
        lambda: RedisServer(maxmemory="256mb"),
        lambda: RedisServer(policy="volatile"),  # type: ignore[arg-type]  # refused below
        lambda: RedisServer(image="redis:7-bookworm"),
        lambda: RedisServer(image="registry.example:5000/mine/redis@sha256:" + "0" * 64),
        lambda: RedisServer(image="valkey/valkey"),
        lambda: RedisIndex(1, "everybody's", ("a",), channels=("*",)),
        lambda: RedisIndex(1, "nearly everybody's", ("a",), channels=("/*",)),
        lambda: RedisIndex(1, "two rules", ("a",), channels=("a:* &*",)),
        lambda: RedisIndex(1, "in the middle", ("a",), named_channels=("a:*:b",)),
        lambda: PostgresServer(memory="512"),
        lambda: PostgresServer(max_connections=5),
        lambda: PostgresServer(settings={"work mem": "1MB"}),
        lambda: PgBouncer(max_prepared_statements=0),
    ],
)
def test_servers_and_indexes_that_make_no_sense_are_refused(make: Any) -> None:
    with pytest.raises(DeclarationError):
        make()


def test_redis_gets_half_as_much_again_as_its_data_may_take() -> None:
    assert RedisServer(maxmemory="256m").memory == "384m"
    assert RedisServer(maxmemory="101m").memory == "152m"


# --- the connection budget


def test_a_budget_counts_pools_direct_connections_and_reserves() -> None:
    budget = postgres.ConnectionBudget(PostgresServer(max_connections=100), DATABASES)
    # renov_bati may come to voicejury's database directly, too, with as many as its pool has.
    assert str(budget) == "20 for pools + 14 direct + 7 reserve + 3 superuser = 44 of 100"
    assert budget.fits
    assert not list(budget.problems())
    assert sum(use.connections for use in budget.uses) == 44


@pytest.mark.parametrize(("accepted", "fits"), [(45, True), (44, False)])
def test_a_budget_must_stay_below_what_the_server_accepts(accepted: int, fits: bool) -> None:
    budget = postgres.ConnectionBudget(PostgresServer(max_connections=accepted), DATABASES)
    assert budget.fits is fits
    problems = list(budget.problems())
    assert not fits or not problems
    if problems:
        assert "= 44 of 44" in str(problems[0])


def test_each_role_may_have_the_connections_that_its_databases_have() -> None:
    server = PostgresServer(reserve=7)
    assert postgres.connection_limits(server, DATABASES) == {
        "litellm": 2 + 10,
        "renov_bati": 8 + 2 + 5,  # of its own, and the pool of the one that it may connect to
        "voicejury": 5 + 2,
        "monitor": 3 + 7,
    }
    budget = postgres.ConnectionBudget(server, DATABASES)
    owners = sum(
        limit for role, limit in postgres.connection_limits(server, DATABASES).items() if role != "monitor"
    )
    assert owners + server.reserve + server.superuser_reserved == budget.total
    two = (Database("one", owner="both", pool=3, direct=1), Database("two", owner="both", pool=4, direct=0))
    assert postgres.connection_limits(server, two)["both"] == 8


def test_what_connects_past_the_pooler_has_its_limit() -> None:
    """Prisma's own pools and knex' grow with the cores, beyond what their database is given."""
    blueprint = declared()
    most: dict[str, int] = {}
    for service in (service for stack in blueprint.stacks for service in stack.services):
        url = service.generated_secrets.get("DATABASE_URL", "")
        if "@shared-postgres:" in url and service.name != blueprint.gateway.container:
            database, _, limit = url.rpartition("/")[2].partition("?connection_limit=")
            most[database] = most.get(database, 0) + int(limit)
        if pool := service.env.get("NANGO_DB_POOL_MAX"):
            most["nango"] = int(pool)
    direct = {database.name: database.direct for database in blueprint.databases}
    assert most.keys() == {"langfuse", "nango", "postiz"}
    assert all(most[name] <= direct[name] for name in most)


def test_databases_that_share_a_name_or_an_owner_or_name_no_role_are_refused() -> None:
    wrong = (
        Database("litellm"),
        Database("second", owner="litellm"),
        Database("other", connect_roles=("nobody",)),
    )
    reported = postgres.database_problems(
        [
            *(("group_data/shared.py", one) for one in DATABASES),
            *(("group_data/shop.py", one) for one in wrong),
        ]
    )
    assert [(problem.file, problem.key, problem.found) for problem in reported] == [
        ("group_data/shop.py", "databases.litellm", "declared before"),
        ("group_data/shop.py", "databases.second.owner", "litellm, which owns litellm"),
        ("group_data/shop.py", "databases.other.connect_roles", "nobody"),
    ]
    assert not list(postgres.database_problems([("group_data/shared.py", one) for one in DATABASES]))


# --- Postgres


def test_settings_follow_from_the_memory_and_the_connections() -> None:
    settings = postgres.settings(PostgresServer(memory="512m", max_connections=100))
    assert settings["shared_buffers"] == "128MB"
    assert settings["work_mem"] == "1966kB"
    assert settings["max_connections"] == "100"
    larger = postgres.settings(PostgresServer(memory="2g", max_connections=200, settings={"work_mem": "8MB"}))
    assert (larger["shared_buffers"], larger["work_mem"]) == ("512MB", "8MB")


def test_values_are_quoted_in_the_file() -> None:
    server = PostgresServer(settings={"log_line_prefix": "it's "})
    assert "log_line_prefix = 'it''s '\n" in postgres.postgresql_conf(server)


def test_the_monitors_password_is_escaped_for_libpq() -> None:
    assert postgres.pgpass(r"a:b\c") == "*:*:*:monitor:a\\:b\\\\c\n"


# --- PgBouncer


@pytest.mark.checklist("F.3")
def test_every_database_is_derived_and_held_to_its_pool() -> None:
    ini = configparser.ConfigParser(delimiters=("=",), inline_comment_prefixes=None)
    ini.read_string(postgres.pgbouncer_ini(PgBouncer(), DATABASES))
    assert ini["databases"]["voicejury_db"] == (
        "host=shared-postgres port=5432 dbname=voicejury_db pool_size=5 max_db_connections=5"
    )
    assert set(ini["databases"]) == {database.name for database in DATABASES}
    assert ini["pgbouncer"]["auth_type"] == "scram-sha-256"
    assert ini["pgbouncer"]["pool_mode"] == "transaction"
    # After a value, `;` is no comment to PgBouncer but fatal.
    assert not any(";" in value for section in ini.values() for value in section.values())


def test_the_userlist_has_every_role_and_quotes_as_pgbouncer_reads_it() -> None:
    verifiers = postgres.verifiers(DATABASES, lambda role: f'of "{role}"')
    assert postgres.userlist(verifiers).splitlines() == [
        '"litellm" "of ""litellm"""',
        '"monitor" "of ""monitor"""',
        '"renov_bati" "of ""renov_bati"""',
        '"voicejury" "of ""voicejury"""',
    ]


# --- Redis


def test_a_user_has_the_indexes_on_whose_lists_it_is() -> None:
    assert redis.users(INDEXES) == {"augmenter": (0, 7), "coach-credit": (6,), "voicejury": (7,)}


def test_no_directive_of_redis_has_a_comment_or_a_password_in_it() -> None:
    lines = redis.redis_conf(RedisServer()).splitlines()
    assert "maxmemory 256mb" in lines
    assert 'save ""' in lines
    assert not [line for line in lines if "#" in line or "requirepass" in line or "$" in line]


def acl(server: RedisServer = VALKEY, indexes: Sequence[RedisIndex] = INDEXES) -> dict[str, list[str]]:
    """The rules of each user; a selector is one of them."""
    lines = redis.users_acl(server, indexes, lambda user: f"password of {user}").splitlines()
    return {line.split()[1]: re.findall(r"\([^)]*\)|\S+", line)[2:] for line in lines}


def test_the_default_user_is_closed_and_every_user_has_its_databases_only() -> None:
    rules = acl()
    assert rules["default"] == ["off", "resetpass", "resetkeys", "resetchannels", "-@all"]
    assert set(rules) == {"default", "admin", "monitor", "augmenter", "coach-credit", "voicejury"}
    assert rules["voicejury"][1] == f"#{hashlib.sha256(b'password of voicejury').hexdigest()}"
    for user, databases in {"augmenter": "db=0,7", "coach-credit": "db=6", "voicejury": "db=7"}.items():
        assert rules[user].index("resetdbs") == rules[user].index(databases) - 1
        assert [rule for rule in rules[user] if rule.startswith("db=")] == [databases]
        assert "+select" in rules[user]


def test_a_server_that_knows_no_databases_in_its_acls_gets_them_by_select() -> None:
    rules = acl(RedisServer(image="redis:7-bookworm", acl_databases=False))
    assert rules["augmenter"][-3:] == ["-select", "+select|0", "+select|7"]
    assert rules["coach-credit"][-2:] == ["-select", "+select|6"]
    assert not [
        rule for user in rules for rule in rules[user] if rule.startswith("db=") or rule == "resetdbs"
    ]


def test_a_user_is_allowed_commands_by_a_list() -> None:
    for user in ("augmenter", "coach-credit", "voicejury"):
        commands = [rule for rule in acl()[user] if rule[0] in "+-"]
        assert commands[0] == "-@all"
        assert "+@all" not in commands
        assert {rule for rule in commands if rule.startswith("+@")} == {
            "+@read",
            "+@write",
            "+@keyspace",
            "+@transaction",
        }
        # FUNCTION LOAD writes, and FLUSHALL, RESTORE and MIGRATE do.
        for denied in ("-@scripting", "-@dangerous", "-@admin", "-copy", "-move"):
            assert commands.index(denied) > commands.index("+@write")
        for kind in ("client", "script", "function", "pubsub", "fcall", "acl", "config"):
            allowed = {rule for rule in commands if rule.startswith(f"+{kind}")}
            assert allowed == {
                "client": {
                    "+client|id",
                    "+client|info",
                    "+client|getname",
                    "+client|setname",
                    "+client|setinfo",
                },
                "script": {"+script|exists", "+script|load"},
            }.get(kind, set())


def test_a_user_has_its_own_channels_and_those_of_its_indexes() -> None:
    indexes = (
        RedisIndex(2, "broker", ("augmenter", "flower"), channels=("/2.*", "/2.celery.pidbox")),
        RedisIndex(7, "results", ("augmenter", "voicejury"), named_channels=("celery-task-meta-*",)),
    )
    heard = {
        user: [rule for rule in rules if rule.startswith("&")] for user, rules in acl(indexes=indexes).items()
    }
    assert heard == {
        "default": [],
        "admin": ["&*"],
        "monitor": [],
        "augmenter": ["&augmenter:*", "&/2.*", "&/2.celery.pidbox"],
        "flower": ["&flower:*", "&/2.*", "&/2.celery.pidbox"],
        "voicejury": ["&voicejury:*"],
    }
    assert all("resetchannels" in rules for user, rules in acl(indexes=indexes).items() if user != "admin")


def test_channels_that_only_their_names_keep_apart_are_listened_to_by_name() -> None:
    rules = acl(indexes=(RedisIndex(7, "results", ("voicejury",), named_channels=("celery-task-meta-*",)),))
    assert rules["voicejury"][-1] == "(resetchannels &celery-task-meta-* +publish +subscribe)"
    assert "&celery-task-meta-*" not in rules["voicejury"]
    assert not [rule for rule in acl()["voicejury"] if rule.startswith("(")]


def test_only_bull_board_sees_who_else_is_connected() -> None:
    indexes = (RedisIndex(0, "queues", ("augmenter", "bull-board")),)
    assert [user for user, rules in acl(indexes=indexes).items() if "+client|list" in rules] == [
        "monitor",
        "bull-board",
    ]

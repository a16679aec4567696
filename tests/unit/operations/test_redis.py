"""The facts of Redis and PgBouncer and the operations on them, both ways."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationValueError

from facts.pgbouncer import REFUSAL, Answers
from facts.redis import AclUser, Redis, RedisState, read_redis, read_users
from operations import pgbouncer, redis
from operations.checks import ANSWER_S, ASKED_AGAIN_S
from tests.unit.bench import Bench
from tests.unit.hosts import InTurn, commands, scripted_host
from tests.unit.paths import FIXTURES

RECORDED = (FIXTURES / "redis.txt").read_text().splitlines()
VALKEY = (FIXTURES / "valkey.txt").read_text().splitlines()
PASSWORD_FILE = "/etc/redis/admin.password"  # noqa: S105 - a path
SETTINGS = {"maxmemory": "128mb", "save": "", "appendonly": "yes", "bind": "* -::*"}
ACL = "user default off\nuser admin on #11 ~* &* +@all\nuser monitor on #12\nuser coach-credit on #13\n"

# Recorded of Redis 7.0.15, which says the same rules in another order each time; the other one of Valkey 9.1.2. The
# file's text is a test's.
AS_DECLARED = replace(read_redis(RECORDED), file_sha256=hashlib.sha256(ACL.encode()).hexdigest())


def server(state: RedisState, settings: dict[str, str] = SETTINGS, acl: str = ACL) -> list[Any]:
    return commands(redis.server, {Redis: state}, "shared-redis", settings, acl, "admin", PASSWORD_FILE)


def test_a_recorded_answer_is_read() -> None:
    state = read_redis(RECORDED)
    assert state.answers
    assert state.settings == {"maxmemory": "134217728", "save": "", "appendonly": "yes", "bind": "* -::*"}
    assert state.users["default"].flags == {"off"}
    assert {"+select|6", "-select", "-keys"} <= state.users["coach-credit"].rules.commands
    assert state.users == state.declared


def test_valkeys_answer_is_read_with_its_databases_and_selectors() -> None:
    state = read_redis(VALKEY)
    assert state.answers
    assert state.users == state.declared
    assert state.users["admin"].rules.databases is None
    user = state.users["voicejury"]
    assert user.rules.databases == "db=2,7"
    assert user.flags == {"on"}
    assert {"~*", "&voicejury:*", "&/2.*"} <= user.rules.patterns
    [selector] = user.selectors
    assert selector.patterns == {"&celery-task-meta-*", "&celery-taskset-meta-*"}
    assert selector.commands == {"-@all", "+publish", "+subscribe"}


def test_the_hash_of_a_password_does_not_leave_the_fact() -> None:
    digest = next(word[1:] for line in RECORDED for word in line.split() if word.startswith("#"))
    assert digest not in repr(read_redis(RECORDED))


def test_a_server_that_is_not_there_or_refuses_is_distinguished() -> None:
    assert read_redis([]) == Redis.default() == RedisState()
    refused = read_redis(["@@ping", "NOAUTH Authentication required."])
    assert not refused.answers
    assert refused.answer == "NOAUTH Authentication required."


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("user a on ~* &* +@all", "user a on sanitize-payload allkeys allchannels allcommands", True),
        ("user a off", "user a off resetkeys resetchannels -@all", True),
        ("user a on +@all -keys -move", "user a on +@all -move -keys", True),
        ("user a on +@all -keys", "user a on +@all", False),
        ("user a on +@all", "user a on -keys +@all", True),
        ("user a on ~*", "user a on ~cache:*", False),
        ("user a on #11", "user a on #12", False),
        ("user a on", "user a on nopass", False),
        ("user a on alldbs +@all", "user a on +@all", True),
        ("user a on db=1,2 +@all", "user a on resetdbs db=1,2 +@all", True),
        ("user a on db=1 +@all", "user a on db=1,2 +@all", False),
        ("user a on db=1 +@all", "user a on +@all", False),
        ("user a on resetdbs +@all", "user a on +@all", False),
        ("user a on -@all (&b +publish)", "user a on -@all (resetchannels &b -@all +publish)", True),
        ("user a on (&b +publish) (&c +get)", "user a on (&c +get) (&b +publish)", True),
        ("user a on (&b +publish)", "user a on &b +publish", False),
        ("user a on (&b +publish)", "user a on", False),
    ],
)
def test_users_are_compared_by_what_they_may(one: str, other: str, alike: bool) -> None:
    assert (read_users([one]) == read_users([other])) is alike


def test_a_server_that_runs_with_its_files_is_left_alone() -> None:
    assert server(AS_DECLARED) == []


def test_a_server_that_says_nothing_is_asked_again_before_it_is_reloaded() -> None:
    with scripted_host({Redis: InTurn([RedisState(), RedisState(), AS_DECLARED])}) as host:
        assert list(redis.server._inner("shared-redis", SETTINGS, ACL, "admin", PASSWORD_FILE)) == []
    assert host.logged == ["waiting for shared-redis"]


def test_settings_that_drifted_are_set_and_no_others() -> None:
    [command] = server(AS_DECLARED, SETTINGS | {"maxmemory": "256mb"})
    assert command.payload == "maxmemory 256mb\n"


def without(users: Mapping[str, AclUser], name: str) -> dict[str, AclUser]:
    return {other: user for other, user in users.items() if other != name}


@pytest.mark.parametrize(
    ("state", "names"),
    [
        (AS_DECLARED, []),
        (replace(AS_DECLARED, users=without(AS_DECLARED.users, "coach-credit")), ["coach-credit"]),
        (replace(AS_DECLARED, declared=without(AS_DECLARED.declared, "coach-credit")), ["coach-credit"]),
        (
            replace(
                AS_DECLARED, users={**AS_DECLARED.users, **read_users(["user coach-credit on ~* +@all"])}
            ),
            ["coach-credit"],
        ),
        (replace(AS_DECLARED, file_sha256="another"), ["admin", "coach-credit", "default", "monitor"]),
        (replace(AS_DECLARED, file_sha256=None), ["admin", "coach-credit", "default", "monitor"]),
    ],
)
def test_users_that_drifted_are_loaded_again_and_shown_nowhere(state: RedisState, names: list[str]) -> None:
    assert redis.users_difference(ACL, state) == names
    done = server(state)
    assert bool(done) == bool(names)
    for command in done:
        assert command.payload == ""
        assert "#1" not in command.get_raw_value()


def test_a_server_that_refuses_us_is_reloaded() -> None:
    [command] = server(RedisState("WRONGPASS"))
    assert command.payload == ""


@pytest.mark.parametrize("settings", [{"maxmemory\nFLUSHALL": "1"}, {"maxmemory": "1\nappendonly no"}])
def test_a_setting_is_one_line(settings: dict[str, str]) -> None:
    with pytest.raises(OperationValueError):
        server(AS_DECLARED, settings)


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        (AS_DECLARED, 0),
        (RedisState(), 1),
        (replace(AS_DECLARED, settings={**AS_DECLARED.settings, "appendonly": "no"}), 1),
        (replace(AS_DECLARED, users={}), 4),
    ],
)
def test_the_check_reports_what_is_not_as_declared(state: RedisState, wrong: int) -> None:
    with scripted_host({Redis: state}) as host:
        done = list(redis.redis._inner("shared-redis", SETTINGS, ACL, "admin", PASSWORD_FILE))
        assert bool(done) == bool(wrong)
        if done:
            [text] = done[0].args
            assert text.startswith(f"redis: {wrong} problem")
        else:
            assert host.noops


POOLER = ("shared-postgres", "pgbouncer", 6432, "monitor", "/etc/postgresql/monitor.pgpass", ["litellm"])


@pytest.mark.parametrize(
    ("output", "fails"),
    [
        ({"litellm": "litellm"}, False),
        ({"litellm": "FATAL: server login has been failing"}, True),
        ({"litellm": "langfuse"}, True),
        ({}, True),
        ({"": "OCI runtime exec failed"}, True),
    ],
)
def test_a_database_that_does_not_answer_through_the_pooler_is_named(
    output: dict[str, str], fails: bool
) -> None:
    with scripted_host({Answers: output}):
        done = list(pgbouncer.pgbouncer._inner(*POOLER))
    assert bool(done) is fails
    assert not fails or "database litellm through pgbouncer:6432" in done[0].args[0]
    for reason in set(output.values()) - {"litellm"}:
        assert reason in done[0].args[0]


def test_a_pooler_is_asked_again_as_a_client_would_ask(waited: list[float]) -> None:
    refused = {"litellm": "psql: error: server closed the connection unexpectedly"}
    with scripted_host({Answers: InTurn([{}, refused, {"litellm": "litellm"}])}) as host:
        assert list(pgbouncer.pgbouncer._inner(*POOLER)) == []
    assert host.noops
    assert waited == [ASKED_AGAIN_S] * 2
    with scripted_host({Answers: refused}):
        assert len(list(pgbouncer.pgbouncer._inner(*POOLER))) == 1
    assert ANSWER_S <= sum(waited[2:]) < ANSWER_S + ASKED_AGAIN_S


def test_what_keeps_docker_from_asking_the_server_is_reported(bench: Bench) -> None:
    bench.program("docker", "echo OCI runtime exec failed >&2; exit 126")
    fact = Redis().command("shared-redis", ["maxmemory"], "admin", "/p")
    state = read_redis(
        bench.run("facts/redis.sh", *shlex.split(fact.get_raw_value())[4:]).stdout.splitlines()
    )
    assert (state.answer, state.refusal) == (None, "OCI runtime exec failed")
    with scripted_host({Redis: state}):
        (step,) = redis.redis._inner("shared-redis", SETTINGS, ACL, "admin", PASSWORD_FILE)
    assert "OCI runtime exec failed" in step.args[0]


def test_what_keeps_docker_from_asking_the_pooler_is_reported(bench: Bench) -> None:
    words = shlex.split(
        Answers().command("db", "pgbouncer", 6432, "monitor", "/p", ["litellm"]).get_raw_value()
    )
    bench.program("docker", "echo OCI runtime exec failed >&2; exit 126")
    done = bench.run("facts/pgbouncer.sh", *words[4:])
    output = "OCI runtime exec failed\nthe client in db ended with 126"
    assert Answers().process(done.stdout.splitlines()) == {REFUSAL: output}


def test_what_keeps_psql_from_asking_the_pooler_is_reported(bench: Bench) -> None:
    words = shlex.split(
        Answers().command("db", "pgbouncer", 6432, "monitor", "/p", ["litellm"]).get_raw_value()
    )
    bench.program("docker", 'shift 3; exec "$@"')
    bench.program("psql", "kill -9 $$")
    done = bench.run("facts/pgbouncer.sh", *words[4:])
    assert Answers().process(done.stdout.splitlines())["litellm"].endswith("psql ended with 137")


@pytest.mark.parametrize(
    ("output", "asked"), [("LOADING Redis is loading", 2), ("WRONGPASS invalid username-password pair", 1)]
)
def test_a_redis_that_is_not_ready_is_asked_again_and_a_refusal_is_an_answer(
    bench: Bench, output: str, asked: int
) -> None:
    fact = Redis().command("shared-redis", ["maxmemory"], "admin", "/dev/null")
    bench.program("docker", 'shift 3; exec "$@"')
    bench.program("redis-server", "exit 1")
    bench.program(
        "redis-cli",
        f'[[ $* == *PING ]] || exit 0; log PING; [ $(wc -l <{bench.log}) = 2 ] && echo PONG || echo "{output}"',
    )
    done = bench.run("facts/redis.sh", *shlex.split(fact.get_raw_value())[4:])
    state = read_redis(done.stdout.splitlines())
    assert state.answer == ("PONG" if asked == 2 else output)
    assert bench.calls[:asked] == ["PING"] * asked


def test_answers_are_read_by_database() -> None:
    lines = [
        "@@database",
        "no such container",
        "@@database litellm",
        "litellm",
        "@@database langfuse",
        "psql: error: no",
        "more",
    ]
    fact = Answers()
    output = {"litellm": "litellm", "langfuse": "psql: error: no\nmore"}
    assert fact.process(lines) == {REFUSAL: "no such container", **output}

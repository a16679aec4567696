"""shared-redis: each user in its own indexes (requirements 6 and 11.6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import exceptions

from blueprint.model.types import REDIS_DATABASES
from blueprint.redis import ADMIN, MONITOR, users
from tests.host.conftest import CompletedRun
from tests.services.datastores import Datastores

Deploy = Callable[..., CompletedRun]


def test_without_a_password_nothing_is_answered(datastores: Datastores) -> None:
    with pytest.raises(exceptions.AuthenticationError):
        datastores.redis(None).ping()
    user = next(iter(users(datastores.indexes)))
    for name in (user, "default"):
        with pytest.raises(exceptions.AuthenticationError):
            datastores.redis(name, password="a guess").ping()  # noqa: S106 - wrong on purpose


@pytest.mark.checklist("4.3", "5.3")
def test_each_user_works_in_its_indexes_and_is_refused_in_the_others(datastores: Datastores) -> None:
    for user, own in users(datastores.indexes).items():
        for index in range(REDIS_DATABASES):
            client = datastores.redis(user)
            if index in own:
                assert client.execute_command("SELECT", index)
                client = datastores.redis(user, index)
                client.set(f"tried:{user}", index, ex=60)
                assert client.get(f"tried:{user}") == str(index)
                client.delete(f"tried:{user}")
            else:
                with pytest.raises(exceptions.NoPermissionError):
                    client.execute_command("SELECT", index)


def test_what_reaches_other_indexes_or_everybody_is_refused(datastores: Datastores) -> None:
    user, own = next((user, own) for user, own in users(datastores.indexes).items() if 0 not in own)
    other = next(index for index in range(1, REDIS_DATABASES) if index not in own)
    client = datastores.redis(user, own[0])
    client.set("tried", 1, ex=60)
    for command in (
        ("MOVE", "tried", other),
        ("COPY", "tried", "tried", "DB", other),
        ("SWAPDB", own[0], other),
        ("EVAL", f"return redis.call('SELECT', {other})", 0),
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("KEYS", "*"),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("MONITOR",),
        ("SHUTDOWN",),
    ):
        with pytest.raises(
            (exceptions.NoPermissionError, exceptions.ResponseError),
            match=r"permission|can't run|can't access",
        ):
            client.execute_command(*command)
    assert client.get("tried") == "1"


def test_what_the_projects_libraries_ask_is_answered(datastores: Datastores) -> None:
    user, own = next(iter(users(datastores.indexes).items()))
    client = datastores.redis(user, own[0])
    assert client.info()["maxmemory_policy"] == "volatile-lru"
    assert client.client_setname("worker")
    assert client.client_info()["name"] == "worker"
    heard = client.pubsub()
    heard.subscribe(f"{user}:tried")
    assert client.eval("return redis.call('INCR', KEYS[1])", 1, "tried:script") == 1
    client.delete("tried:script")


def test_a_connection_that_selects_nothing_is_in_nobody_elses_index(datastores: Datastores) -> None:
    """Index 0, in which it begins, is one project's."""
    admin = datastores.redis(ADMIN)
    admin.set("tried:0", "theirs", ex=60)
    for user, own in users(datastores.indexes).items():
        client = datastores.redis(user)
        if 0 in own:
            assert client.get("tried:0") == "theirs"
            continue
        for command in (("GET", "tried:0"), ("SET", "tried:0", user), ("SCAN", 0), ("DBSIZE",)):
            with pytest.raises(exceptions.NoPermissionError):
                client.execute_command(*command)
    assert admin.getdel("tried:0") == "theirs"


def test_the_monitor_measures_and_reads_no_value(datastores: Datastores) -> None:
    monitor = datastores.redis(MONITOR, datastores.indexes[-1].index)
    assert monitor.info("memory")["maxmemory"] > 0
    assert monitor.dbsize() >= 0
    for command in (
        ("GET", "x"),
        ("SET", "x", "1"),
        ("LRANGE", "x", "0", "1"),
        ("CONFIG", "GET", "*"),
        ("FLUSHALL",),
    ):
        with pytest.raises(exceptions.NoPermissionError):
            monitor.execute_command(*command)


def test_a_full_redis_gives_up_cached_keys_keeps_the_others_and_recovers(datastores: Datastores) -> None:
    admin = datastores.redis(ADMIN, REDIS_DATABASES - 1)
    started = datastores.inspect("shared-redis", "{{.State.StartedAt}}")
    mebibyte = "return redis.call('SET', KEYS[1], string.rep('x', 1048576), unpack(ARGV))"
    try:
        for n in range(50):
            admin.eval(mebibyte, 1, f"cached:{n}", "EX", "600")
        with pytest.raises(exceptions.OutOfMemoryError):
            for n in range(300):
                admin.eval(mebibyte, 1, f"kept:{n}")
        kept = sum(1 for _ in admin.scan_iter("kept:*"))
        assert kept > 0.6 * admin.info("memory")["maxmemory"] / 1024**2
        assert not list(admin.scan_iter("cached:*"))
        assert admin.ping()
    finally:
        admin.flushdb()
    admin.set("tried", 1, ex=1)
    # It was Redis' own limit that it met, and not the container's.
    assert datastores.inspect("shared-redis", "{{.State.StartedAt}}") == started


def test_drift_is_repaired_while_it_runs(datastores: Datastores, deploy: Deploy) -> None:
    admin = datastores.redis(ADMIN)
    user = next(iter(users(datastores.indexes)))
    admin.execute_command("ACL", "SETUSER", user, "+@all", "nopass")
    admin.execute_command("ACL", "SETUSER", "intruder", "on", "nopass", "~*", "+@all")
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", "64mb")
    run = admin.info()["run_id"]
    done = deploy()
    assert done.rc == 0, done.output
    assert admin.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-lru"}
    for name in (user, "intruder"):
        with pytest.raises(exceptions.AuthenticationError):
            datastores.redis(name, password="a guess").ping()  # noqa: S106 - wrong on purpose
    assert admin.info()["run_id"] == run
    assert deploy().changed == []


@pytest.mark.parametrize("whose", ["a project's", "ours"])
def test_a_rotated_password_is_taken_over(datastores: Datastores, deploy: Deploy, whose: str) -> None:
    user = ADMIN if whose == "ours" else list(users(datastores.indexes))[-1]
    old = datastores.password(f"redis/{user}")
    datastores.redis(ADMIN, 1).set("tried:rotation", 1)
    with datastores.rotated(f"redis/{user}"):
        done = deploy()
    assert done.rc == 0, done.output
    assert datastores.redis(user).ping()
    with pytest.raises(exceptions.AuthenticationError):
        datastores.redis(user, password=old).ping()
    assert datastores.redis(ADMIN, 1).getdel("tried:rotation") == "1"
    assert deploy().changed == []

"""A host that had Redis 7 gets the declared server, with every key and after a backup."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blueprint import redis
from lab.machine import Machine
from tests.host.conftest import CompletedRun, ended, pyinfra_command
from tests.migration import old_server
from tests.services.declared import everything

BLUEPRINT = everything().blueprint
PIECE = "/opt/backups/redis/shared-redis/all"
# Of every type, with what a copy could lose: order, scores, members that are numbers, groups, an end.
FILL = """
SELECT {index}
SET text {index}
SET ends soon EX 86400
HSET hash a 1 b 2
RPUSH bull:scoring:wait 1 2 3
SADD numbers 1 2 3
SADD words a b c
ZADD scores 1.5 a -2 b
XADD stream 1-1 a 1
XADD stream 2-1 a 2
XGROUP CREATE stream group 0
XREADGROUP GROUP group reader COUNT 1 STREAMS stream >
PFADD visitors a b c
SETBIT bits 7 1
"""
READ = """
SELECT {index}
GET text
GET ends
HGETALL hash
LRANGE bull:scoring:wait 0 -1
SMEMBERS numbers
SORT words ALPHA
ZRANGE scores 0 -1 WITHSCORES
XRANGE stream - +
XPENDING stream group
PFCOUNT visitors
GETBIT bits 7
DBSIZE
"""
INDEXES = sorted({index for own in redis.users(everything().redis_indexes).values() for index in own})


def deploy(image: str = "") -> CompletedRun:
    """Redis alone, on the declared server or on another's image."""
    command = pyinfra_command(deploy=["tests/migration/redis_server_deploy.py"])
    return ended(command, {"REDIS_IMAGE": image})


def cli(machine: Machine, text: str) -> str:
    """What the server says to the administrator."""
    ask = "REDISCLI_AUTH=$(cat /etc/redis/admin.password) redis-cli --user admin --no-auth-warning"
    return machine.run(f"docker exec -i shared-redis sh -c '{ask}'", input=text).stdout


def contents(machine: Machine) -> dict[int, str]:
    return {index: cli(machine, READ.format(index=index)) for index in INDEXES}


@pytest.fixture(scope="module")
def before(machine: Machine) -> dict[int, str]:
    """Redis 7 as this project deployed it, with keys in every index; what it says of them."""
    done = deploy(old_server.REDIS)
    assert done.rc == 0, done.output
    for index in INDEXES:
        cli(machine, FILL.format(index=index))
    # In both parts of the append-only file.
    cli(machine, "BGREWRITEAOF")
    for index in INDEXES:
        cli(machine, f"SELECT {index}\nSET text later-{index}")
    assert deploy(old_server.REDIS).changed == []
    return contents(machine)


@pytest.fixture(scope="module")
def after(machine: Machine, before: dict[int, str]) -> CompletedRun:
    done = deploy()
    assert done.rc == 0, done.output
    return done


def test_redis_itself_knows_its_users_by_select(machine: Machine, before: dict[int, str]) -> None:
    """The fallback: the same rules but for index 0, in which a connection begins."""
    assert "redis_version:7.0" in cli(machine, "INFO server")
    assert "user renov-bati on" not in cli(machine, "ACL LIST")  # no project is there yet
    assert "+select|4" in cli(machine, "ACL LIST")
    assert all(f"later-{index}" in text for index, text in before.items())


def test_every_key_is_there(machine: Machine, before: dict[int, str], after: CompletedRun) -> None:
    assert contents(machine) == before
    assert (
        BLUEPRINT.redis.image
        in machine.run("docker inspect --format '{{.Config.Image}}' shared-redis").stdout
    )
    assert "db=4 " in cli(machine, "ACL LIST")


def test_what_was_there_has_been_saved_before(
    machine: Machine, before: dict[int, str], after: CompletedRun
) -> None:
    """By the old server, whose checker has read it back."""
    newest = machine.run(f"ls -d {PIECE}/2* | tail -n 1").stdout.strip()
    manifest: dict[str, Any] = json.loads(machine.run(f"cat {newest}/manifest.json").stdout)
    keys = sum(int(text.split()[-1]) for text in before.values())
    assert manifest["contents"]["keys"] == keys
    magic = machine.run(f"zstd --decompress --stdout {newest}/dump.rdb.zst | head -c 9").stdout
    assert magic == "REDIS0010"


def test_a_backup_of_the_new_server_is_read_back(machine: Machine, after: CompletedRun) -> None:
    machine.run(f"{BLUEPRINT.paths.scripts}/backup-now.sh redis/shared-redis/all", timeout=300)


def test_a_second_run_changes_nothing(machine: Machine, after: CompletedRun) -> None:
    assert deploy().changed == []

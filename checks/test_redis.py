"""shared-redis: settings, users, indexes (requirements 6)."""

from __future__ import annotations

import pytest

from blueprint import redis
from blueprint.model import RedisIndex
from blueprint.names import REDIS
from checks.expect import expect, fail
from checks.server import Server
from facts.redis import Redis, RedisState
from operations.redis import settings_difference
from specs.problems import Problem

pytestmark = pytest.mark.litellm

AGAIN = "run the deploy again: it writes the file and has the server read it"


@pytest.fixture
def state(server: Server) -> RedisState:
    """The server, which has to answer."""
    settings = redis.settings(server.blueprint.redis)
    found = server.fact(
        Redis, container=REDIS, settings=list(settings), user=redis.ADMIN, password_file=redis.ADMIN_PASSWORD
    )
    if not found.answers:
        fail(
            [
                Problem(
                    REDIS,
                    found.answer or found.refusal or "no answer",
                    "PONG",
                    f"docker logs --tail 20 {REDIS}",
                )
            ]
        )
    return found


def test_settings_are_in_force(server: Server, state: RedisState) -> None:
    """The running server has every declared setting: a limit of its memory, an append-only file, no snapshots."""
    declared = redis.settings(server.blueprint.redis)
    wrong = settings_difference(declared, state)
    expect("settings", {name: state.settings.get(name, "none") for name in wrong}, wrong, AGAIN)


def test_users_are_those_of_the_file(state: RedisState) -> None:
    """The running server has the users of its file, with their rights and passwords."""
    names = state.users.keys() | state.declared.keys()
    wrong = [name for name in names if state.users.get(name) != state.declared.get(name)]
    expect("users that are not as in the ACL file", wrong, [], AGAIN)


def test_nobody_else_has_a_login(server: Server, state: RedisState) -> None:
    """The users are the declared ones, and a connection without a login may do nothing."""
    expected = {*redis.users(server.applied.redis_indexes), redis.ADMIN, redis.MONITOR, "default"}
    expect("users", set(state.users), expected, AGAIN)
    default = state.users["default"]
    expect(
        "user default",
        (default.flags, default.rules.commands),
        (frozenset({"off"}), frozenset({"-@all"})),
        AGAIN,
    )


def test_index_is_its_users_alone(server: Server, state: RedisState, redis_index: RedisIndex) -> None:
    """Only the declared users may select the index, and none of them everything."""
    if not server.blueprint.redis.acl_databases:
        # The fallback to Redis (docs/security.md): its ACLs restrict SELECT, and leave index 0 open to all.
        pytest.skip("this Redis' ACLs know no databases")
    number = str(redis_index.index)
    found = {
        name
        for name, user in state.users.items()
        if name not in (redis.ADMIN, redis.MONITOR, "default")
        and (user.rules.databases is None or number in user.rules.databases.removeprefix("db=").split(","))
    }
    expect(f"users of index {number}", found, set(redis_index.users), AGAIN)


def test_user_subscribes_to_its_own_channels(server: Server, state: RedisState) -> None:
    """No user's channels are everybody's: a message on another's would stop its workers."""
    allowed = redis.users(server.applied.redis_indexes)
    open_ = [name for name in allowed if "&*" in state.users[name].rules.patterns]
    expect("users with all channels", open_, [], AGAIN)

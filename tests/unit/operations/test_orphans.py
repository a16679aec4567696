"""Containers that belong to nobody, and variables that nobody meant."""

from __future__ import annotations

import json

import pytest

from facts.orphans import Orphan, Orphans, read_orphans
from facts.redis_keys import KeysState, RedisKeys, read_keys
from operations import orphans, redis_keys
from operations.orphans import findings
from tests.unit.hosts import scripted_host

ROOT = "/opt/ours"
OURS = Orphan("web", project="web", folder=f"{ROOT}/web")


@pytest.mark.checklist("2.10")
def test_the_report() -> None:
    found = [
        OURS,
        Orphan("whisper"),
        Orphan("coolify-proxy", managed=True, stray=("PASSWORD:?set it",)),
        Orphan("qdrant", status="exited", project="hand"),
    ]
    assert list(findings(found, ROOT, ["whisper"])) == [
        "containers that belong to nobody here: qdrant (exited, of hand); docker rm NAME, once you know what they were",
        "variables of coolify-proxy that look like a mistake: PASSWORD:?set it; remove them in Coolify",
    ]
    assert list(findings([OURS], ROOT, [])) == []


def test_it_is_only_reported() -> None:
    with scripted_host({Orphans: [Orphan("stranger")]}) as host:
        assert list(orphans.report._inner(ROOT)) == []
    assert "stranger (running)" in host.logged[0]


def test_the_answer_of_the_host() -> None:
    output = {
        "name": "/web",
        "status": "exited",
        "project": None,
        "folder": None,
        "managed": "true",
        "stray": ["A:?b"],
    }
    assert read_orphans([json.dumps(output), ""]) == [
        Orphan("web", status="exited", managed=True, stray=("A:?b",))
    ]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (KeysState(), ""),
        (KeysState("exited"), ""),
        (KeysState("running", "PONG"), ""),
        (KeysState("running", "NOAUTH Authentication required."), "cannot be looked into"),
        (
            KeysState("running", "PONG", {3: 2, 0: 7}),
            "7 keys in index 0, 2 keys in index 3 are not taken over",
        ),
    ],
)
def test_what_is_left_in_a_redis(found: KeysState, words: str) -> None:
    with scripted_host({RedisKeys: found}) as host:
        assert list(redis_keys.report._inner("old")) == []
    assert words in "".join(host.logged)
    assert bool(words) == bool(host.logged)


def test_the_answer_of_a_redis() -> None:
    lines = [
        "@@status",
        "running",
        "@@ping",
        "PONG",
        "@@keyspace",
        "# Keyspace",
        "db0:keys=7,expires=1,avg_ttl=0",
    ]
    assert read_keys(lines) == KeysState("running", "PONG", {0: 7})

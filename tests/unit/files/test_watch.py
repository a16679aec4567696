"""The watch as cron runs it, with a docker that says what a test wants it to say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blueprint import backup, watch
from blueprint.applied import Applied
from blueprint.model import Backups
from blueprint.phases import LITELLM, MONITORING
from tests.unit.declared import declared
from tests.unit.script_host import PASSWORD, ScriptHost

PIECE = "postgres/shared-postgres/litellm"


class WatchHost(ScriptHost):
    """A host on which all is well."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.backups = folder / "backups"
        self.sql: dict[str, list[str]] = {
            "pg_stat_activity": ["[10, 100]"],
            "GROUP BY port": ['["11434", 20, 2.5]', '["11435", 20, 30.0]'],
            'FROM "LiteLLM_SpendLogs" WHERE': ["[40, 32]"],
            "LiteLLM_TeamTable": ['["coach", 19.99, 20]'],
        }
        self.redis: dict[str, list[str]] = {
            "INFO memory": ["used_memory:800", "maxmemory:1000"],
            "INFO keyspace": ["db0:keys=9,expires=0,avg_ttl=0", "db1:keys=5,expires=5,avg_ttl=9"],
            "SCAN 0 MATCH _kombu.binding.* COUNT 1000": [
                "0",
                "_kombu.binding.voice",
                "_kombu.binding.x.pidbox",
            ],
            f"SMEMBERS {word('_kombu.binding.voice')}": ["voice\x06\x16\x06\x16voice"],
            f"LLEN {word('voice')}": ["48"],
            **{f"LLEN {word(f'voice{chr(6)}{chr(22)}{priority}')}": ["0"] for priority in (3, 9)},
            f"LLEN {word(f'voice{chr(6)}{chr(22)}6')}": ["2"],
        }
        self.containers: dict[str, Any] = self.engine["containers"]
        self.containers["shared-postgres"] = {"env": [], "sql": self.sql}
        self.containers["shared-redis"] = {"env": [], "redis": self.redis}
        self.back_up(time.time())
        self.configure()

    def configure(self, **limits: int) -> None:
        blueprint = declared(
            paths=self.paths,
            backups=Backups(root=str(self.backups)),
            watch=replace(declared().watch, direct_groups=("groq-fast",)),
        )
        text = watch.settings_json(Applied(blueprint, {LITELLM, MONITORING}), "sourcefast")
        said = json.loads(text)
        said["disks"] = [str(self.folder)]
        said["backups"]["pieces"] = [PIECE]
        said["celery"] = [{"container": "shared-redis", "index": 2}]
        said["certificates"]["domains"] = []
        said["limits"] |= {"disk_percent": 100} | limits
        self.config = self.write(watch.SETTINGS, json.dumps(said))
        logins = {"shared-redis": backup.Login("watch", PASSWORD)}
        self.write(watch.CREDENTIALS, backup.credentials_json(logins))

    def back_up(self, when: float, doubt: str = "") -> None:
        folder = self.backups / PIECE / "20261122T030000Z"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps({"time": when, "doubt": doubt}))

    def look(self) -> list[str]:
        """Look once; what was told."""
        assert self.run("watch.sh", "--config", str(self.config)).returncode == 0
        return self.told()


def word(text: str) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def test_what_is_measured_follows_from_what_was_given() -> None:
    blueprint = declared()
    phases = {LITELLM, MONITORING, *(project.phase for project in blueprint.projects)}
    whole = json.loads(watch.settings_json(Applied(blueprint, phases), "sourcefast"))
    assert (whole["postgres"], whole["redis"]) == (["shared-postgres", "temporal-pg"], ["shared-redis"])
    assert whole["litellm"]["database"] == "litellm"
    assert whole["litellm"]["ollama"]["11434"] == "heavy"
    assert sorted(broker["index"] for broker in whole["celery"]) == [0, 2, 5]
    assert "s3/minio/langfuse" in whole["backups"]["pieces"]
    less = json.loads(watch.settings_json(Applied(blueprint, {MONITORING}), "sourcefast"))
    assert (less["postgres"], less["redis"], less["litellm"]) == ([], [], None)


def test_models_that_no_chain_of_ours_leads_to_are_no_fallbacks() -> None:
    groups = watch.direct_groups(declared().gateway)
    assert "groq-qwen3-32b" in groups and "gemini-flash" in groups
    assert not {"gpt-4o", "groq-fast", "qwen3-heavy"} & set(groups)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[WatchHost]:
    host = WatchHost(tmp_path)
    yield host
    host.telegram.stop()


def test_all_well_says_nothing(host: WatchHost) -> None:
    """Every value is at its limit, and none above."""
    assert host.look() == []


def test_passwords_are_in_no_argument_list(host: WatchHost) -> None:
    host.look()
    assert "--env REDISCLI_AUTH" in host.arguments
    assert PASSWORD not in host.arguments


CROSSED = {
    "connections": ("sql", "pg_stat_activity", ["[81, 100]"], "shared-postgres has 81 of 100 connections"),
    "memory": (
        "redis",
        "INFO memory",
        ["used_memory:801", "maxmemory:1000"],
        "shared-redis uses 0 of 0 MiB (80 %",
    ),
    "cache": (
        "redis",
        "INFO keyspace",
        ["db1:keys=5,expires=4"],
        "1 keys in database 1 of shared-redis never",
    ),
    "queue": ("redis", f"LLEN {word('voice')}", ["49"], "51 tasks wait in Celery's queue voice"),
    "latency": (
        "sql",
        "GROUP BY port",
        ['["11434", 20, 30.5]'],
        "Ollama heavy took 30 s for 95 % of 20 calls",
    ),
    "fallback": (
        "sql",
        'FROM "LiteLLM_SpendLogs" WHERE',
        ["[40, 31]"],
        "22 % of 40 calls were answered by a cloud",
    ),
    "budget": (
        "sql",
        "LiteLLM_TeamTable",
        ['["coach", 20, 20]'],
        "team coach has spent $20.00 of its $20.00",
    ),
}


@pytest.mark.parametrize("name", CROSSED)
def test_a_limit_that_is_crossed_is_told_once_each_way(host: WatchHost, name: str) -> None:
    where, key, answer, text = CROSSED[name]
    answers: dict[str, list[str]] = getattr(host, where)
    well = answers[key]
    answers[key] = answer
    (message,) = host.look()
    assert message.startswith(f"🔴 {text}")
    assert host.look() == []
    answers[key] = well
    assert host.look() == [f"🟢 over: {message[2:]}"]
    assert host.look() == []


def test_a_full_disk(host: WatchHost) -> None:
    host.configure(disk_percent=1)
    (message,) = host.look()
    assert message.startswith(f"🔴 disk of {host.folder} is ")
    host.configure(disk_percent=100)
    assert [text[0] for text in host.look()] == ["🟢"]


def test_an_old_backup(host: WatchHost) -> None:
    host.back_up(time.time() - 27 * 3600)
    assert host.look() == [f"🔴 {PIECE}: the last good backup is 27 h old"]
    host.back_up(time.time())
    assert [text[0] for text in host.look()] == ["🟢"]


def test_a_doubtful_backup_is_none(host: WatchHost) -> None:
    host.back_up(time.time(), doubt="shrunken")
    assert host.look() == [f"🔴 {PIECE}: there is no good backup"]


def test_a_damaged_backup_is_none_and_hides_no_other(host: WatchHost) -> None:
    damaged = host.backups / PIECE / "20261123T030000Z" / "manifest.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    assert [host.look(), host.look(), host.look()] == [[], [], []]
    host.back_up(time.time(), doubt="shrunken")
    assert host.look() == [f"🔴 {PIECE}: there is no good backup"]


def test_too_few_calls_say_nothing_either_way(host: WatchHost) -> None:
    host.sql["GROUP BY port"] = ['["11434", 20, 31.0]']
    assert len(host.look()) == 1
    host.sql["GROUP BY port"] = ['["11434", 4, 1.0]']
    host.sql['FROM "LiteLLM_SpendLogs" WHERE'] = ["[4, 0]"]
    assert host.look() == []


def test_a_container_that_is_restarted(host: WatchHost) -> None:
    host.containers["litellm-proxy"] = {"restarts": 3}
    assert host.look() == []  # what was before the first look is history
    host.containers["litellm-proxy"]["restarts"] = 4
    assert host.look() == [
        "🔴 container litellm-proxy was restarted by Docker: see docker logs litellm-proxy"
    ]
    assert host.look() == []  # not over as soon as it does not happen again
    state = json.loads((host.folder / "state" / "watch").read_text())
    state["notes"]["restarted"]["litellm-proxy"] -= 31 * 60
    (host.folder / "state" / "watch").write_text(json.dumps(state))
    assert [text[0] for text in host.look()] == ["🟢"]


def test_what_cannot_be_measured_is_told_the_second_time_and_leaves_the_rest(host: WatchHost) -> None:
    host.redis["INFO memory"] = ["used_memory:900", "maxmemory:1000"]
    assert len(host.look()) == 1
    host.containers["shared-redis"]["status"] = "exited"
    assert host.look() == []
    assert host.look() == [
        "🔴 cannot measure memory of Redis, keys of caches, queues of Celery: no container shared-redis is running"
    ]
    host.containers["shared-redis"]["status"] = "running"
    (message,) = host.look()  # the memory has not become less meanwhile
    assert message.startswith("🟢 over: cannot measure")


def test_a_refusal_of_redis_is_no_measurement(host: WatchHost) -> None:
    host.redis["INFO keyspace"] = ["NOPERM User watch has no permissions to run the 'info' command"]
    host.look()
    assert host.look() == [
        "🔴 cannot measure keys of caches: Redis said: NOPERM User watch has no permissions to run the 'info' command"
    ]


def test_a_certificate_that_nobody_trusts(host: WatchHost) -> None:
    said = json.loads(host.config.read_text())
    said["certificates"] = {"address": "127.0.0.1", "port": 443, "domains": ["litellm.augmenter.pro"]}
    host.config.write_text(json.dumps(said))
    host.look()
    (message,) = host.look()  # nothing listens there
    assert message.startswith("🔴 cannot measure certificates: litellm.augmenter.pro at 127.0.0.1: ")


def test_a_message_that_messages_arrive(host: WatchHost) -> None:
    host.telegram.status = 502
    assert host.run("watch.sh", "--config", str(host.config), "--test-message").returncode == 0
    host.telegram.status = 200
    assert host.look() == ["🔵 messages of this host arrive here"]


def test_a_message_is_not_longer_than_telegram_takes(host: WatchHost) -> None:
    host.sql["LiteLLM_TeamTable"] = [json.dumps(["😀" * 5000, 21, 20])]
    (message,) = host.look()
    assert len(message.encode("utf-16-le")) // 2 <= 4096
    assert message.endswith("😀…")


def test_a_dead_telegram_loses_nothing(host: WatchHost) -> None:
    host.telegram.status = 502
    well = host.sql["pg_stat_activity"]
    host.sql["pg_stat_activity"] = ["[99, 100]"]
    assert host.run("watch.sh", "--config", str(host.config)).returncode == 1
    host.sql["pg_stat_activity"] = well
    host.run("watch.sh", "--config", str(host.config))
    host.telegram.status = 200
    assert [text[0] for text in host.look()] == ["🔴", "🟢"]


@pytest.mark.parametrize("spoil", [("window_min", "much"), ("limits", None), ("credentials", "/nowhere")])
def test_wrong_configuration(host: WatchHost, spoil: tuple[str, object]) -> None:
    said = json.loads(host.config.read_text()) | {spoil[0]: spoil[1]}
    host.config.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    done = host.run("watch.sh", "--config", str(host.config))
    assert done.returncode == 2
    assert f"wrong configuration: {host.config}" in done.stdout

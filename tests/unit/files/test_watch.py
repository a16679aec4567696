"""The watch as cron runs it, with a docker that answers what a test declares."""

from __future__ import annotations

import importlib
import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blueprint import backup, watch
from blueprint.applied import Applied
from blueprint.model import BackupPolicy
from blueprint.phases import LITELLM, MONITORING
from tests.unit.declared import declared
from tests.unit.paths import CHECKOUT
from tests.unit.script_host import PASSWORD, ScriptHost

PIECE = "postgres/shared-postgres/litellm"
PRESSURE = "some avg10=0.00 avg60=9.00 avg300={}.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"


class WatchHost(ScriptHost):
    """A healthy host."""

    sources = ("common", "watch")

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
        self.proc = folder / "proc"
        self.modules = folder / "modules"
        self.reboot_required = folder / "reboot-required"
        self.say("self/mounts", "")
        self.say("meminfo", "MemTotal: 1000 kB\nSwapTotal: 1000 kB\nSwapFree: 200 kB\n")
        self.say("pressure/memory", PRESSURE.format(20))
        for program, output in (("systemd-detect-virt", "none"), ("timedatectl", "yes"), ("dpkg", "")):
            self.program(program, output)
        self.declared_containers: list[dict[str, object]] = []
        self.back_up(time.time())
        self.configure()

    def configure(self, **limits: int) -> None:
        blueprint = declared(
            paths=self.paths,
            backups=BackupPolicy(root=str(self.backups)),
            watch=replace(declared().watch, direct_groups=("groq-fast",)),
        )
        text = watch.settings_json(Applied(blueprint, {LITELLM, MONITORING}), "sourcefast")
        settings = json.loads(text)
        settings |= {"disks": [str(self.folder)], "containers": self.declared_containers}
        settings |= {name: str(getattr(self, name)) for name in ("proc", "modules", "reboot_required")}
        settings["backups"]["pieces"] = [PIECE]
        settings["celery"] = [{"container": "shared-redis", "index": 2}]
        settings["certificates"]["domains"] = []
        settings["limits"] |= {"disk_alert_percent": 100} | limits
        self.config = self.write(watch.SETTINGS, json.dumps(settings))
        logins = {"shared-redis": backup.Login("watch", PASSWORD)}
        self.write(watch.CREDENTIALS, backup.credentials_json(logins))

    def say(self, name: str, text: str) -> None:
        """What the kernel says in a file of /proc."""
        (self.proc / name).parent.mkdir(parents=True, exist_ok=True)
        (self.proc / name).write_text(text)

    def program(self, name: str, output: str) -> None:
        """A program that says always the same."""
        file = self.programs / name
        file.write_text(f"#!/bin/sh\nprintf %s {shlex.quote(output)}\n")
        file.chmod(0o755)

    def declare(self, name: str, *, monitored: bool = False, stateful: bool = False) -> None:
        """A container that must be there; it runs, and is healthy."""
        self.containers[name] = {"state": {"Health": {"Status": "healthy"}}}
        self.declared_containers.append({"name": name, "monitored": monitored, "stateful": stateful})
        self.configure()

    def later(self, minutes: int) -> None:
        """Let time pass for what has to last."""
        path = self.folder / "state" / "watch"
        state = json.loads(path.read_text())
        notes = state["notes"]
        notes["since"] = {key: at - minutes * 60 for key, at in notes["since"].items()}
        restarted = notes.get("restarted_unhealthy", {})
        notes["restarted_unhealthy"] = {
            name: [at - minutes * 60 for at in times] for name, times in restarted.items()
        }
        path.write_text(json.dumps(state))

    def back_up(self, when: float, doubt: str = "") -> None:
        folder = self.backups / PIECE / "20261122T030000Z"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps({"time": when, "doubt": doubt}))

    def check_run(self) -> list[str]:
        """Run every check once; the messages that were sent."""
        assert self.run("watch.sh", "--config", str(self.config)).returncode == 0
        return self.messages()


def word(text: str) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def test_what_is_measured_follows_from_what_is_applied() -> None:
    blueprint = declared()
    phases = {LITELLM, MONITORING, *(project.phase for project in blueprint.projects)}
    whole = json.loads(watch.settings_json(Applied(blueprint, phases), "sourcefast"))
    assert (whole["postgres"], whole["redis"]) == (["shared-postgres", "temporal-pg"], ["shared-redis"])
    assert whole["litellm"]["database"] == "litellm"
    assert whole["litellm"]["ollama"]["11434"] == "heavy"
    assert sorted(broker["index"] for broker in whole["celery"]) == [0, 2]
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


def test_a_healthy_host_sends_no_message(host: WatchHost) -> None:
    """Every value is at its limit, and none above."""
    assert host.check_run() == []


def test_passwords_are_in_no_argument_list(host: WatchHost) -> None:
    host.check_run()
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
def test_a_limit_that_is_crossed_is_notified_once_each_way(host: WatchHost, name: str) -> None:
    where, key, answer, text = CROSSED[name]
    answers: dict[str, list[str]] = getattr(host, where)
    before = answers[key]
    answers[key] = answer
    (message,) = host.check_run()
    assert message.startswith(f"🔴 {text}")
    assert host.check_run() == []
    answers[key] = before
    assert host.check_run() == [f"🟢 over: {message[2:]}"]
    assert host.check_run() == []


def test_a_full_disk(host: WatchHost) -> None:
    host.configure(disk_alert_percent=1)
    (message,) = host.check_run()
    assert message.startswith(f"🔴 disk of {host.folder} is ")
    host.configure(disk_alert_percent=100)
    assert [text[0] for text in host.check_run()] == ["🟢"]


def test_every_disk_that_can_be_written_to_is_measured_once(host: WatchHost) -> None:
    host.say(
        "self/mounts",
        f"/dev/sda1 {host.folder} ext4 rw,relatime 0 0\n/dev/sdb1 /proc ext4 rw 0 0\nproc /sys proc rw 0 0\n"
        "/dev/sdc1 /gone ext4 rw 0 0\n/dev/sdd1 /dev ext4 ro 0 0\n",
    )
    host.configure(disk_alert_percent=1)
    (message,) = host.check_run()
    assert message.startswith(f"🔴 disk of {host.folder} is ")


def test_inodes(host: WatchHost) -> None:
    host.configure(inodes_percent=-1)
    (message,) = host.check_run()
    assert "% of its inodes in use: there are too many files" in message


MACHINE = {
    "swap": ("meminfo", "SwapTotal: 1000 kB\nSwapFree: 199 kB\n", "the swap is 80 % full: "),
    "pressure": (
        "pressure/memory",
        PRESSURE.format(21),
        "for 21 % of the last five minutes, processes waited",
    ),
}


@pytest.mark.parametrize("name", MACHINE)
def test_memory_that_runs_short(host: WatchHost, name: str) -> None:
    file, text, message = MACHINE[name]
    before = (host.proc / file).read_text()
    host.say(file, text)
    (found,) = host.check_run()
    assert found.startswith(f"🔴 {message}")
    host.say(file, before)
    assert [text[0] for text in host.check_run()] == ["🟢"]


@pytest.mark.parametrize(
    ("program", "wrong", "right", "message"),
    [
        ("timedatectl", "no", "yes", "the clock is not synchronised"),
        (
            "dpkg",
            "The following packages …\n\n nginx   a web server\n",
            "",
            "packages are half installed: nginx; ",
        ),
    ],
)
def test_what_may_be_so_for_a_moment(
    host: WatchHost, program: str, wrong: str, right: str, message: str
) -> None:
    host.program(program, wrong)
    assert host.check_run() == []
    host.later(minutes=9)
    assert host.check_run() == []
    host.later(minutes=1)
    (found,) = host.check_run()
    assert found.startswith(f"🔴 {message}")
    host.program(program, right)
    assert [text[0] for text in host.check_run()] == ["🟢"]
    host.program(program, wrong)
    assert host.check_run() == []  # it begins anew


def test_a_container_has_its_hosts_clock(host: WatchHost) -> None:
    host.program("systemd-detect-virt", "systemd-nspawn")
    host.program("timedatectl", "no")
    host.check_run()
    host.later(minutes=10)
    assert host.check_run() == []


def test_a_reboot_that_is_pending(host: WatchHost) -> None:
    host.reboot_required.touch()
    host.reboot_required.with_name("reboot-required.pkgs").write_text("linux-image\nlibc6\nlinux-image\n")
    assert host.check_run() == ["🔴 the host wants a reboot: libc6, linux-image"]
    host.reboot_required.unlink()
    assert [text[0] for text in host.check_run()] == ["🟢"]


def test_a_next_kernel_without_the_driver(host: WatchHost) -> None:
    for kernel in ("6.12.9-amd64", "6.12.10-amd64"):
        (host.modules / kernel / "updates").mkdir(parents=True)
        (host.modules / kernel / "modules.dep").touch()
    assert host.check_run() == []  # a host without cards has none at all
    (host.modules / "6.12.9-amd64" / "updates" / "nvidia-current.ko.xz").touch()
    assert host.check_run() == []
    host.later(minutes=10)
    (message,) = host.check_run()
    assert message.startswith("🔴 do not reboot: the next kernel, 6.12.10-amd64, has no NVIDIA driver; ")
    (host.modules / "6.12.10-amd64" / "updates" / "nvidia-current.ko.xz").touch()
    assert [text[0] for text in host.check_run()] == ["🟢"]


def notified(host: WatchHost) -> str:
    """The one message about what has lasted."""
    assert host.check_run() == []
    host.later(minutes=10)
    (message,) = host.check_run()
    assert host.check_run() == []
    return message


def test_a_container_that_is_stopped(host: WatchHost) -> None:
    host.declare("coach-worker")
    host.containers["coach-worker"] |= {"status": "exited", "state": {"OOMKilled": True, "ExitCode": 137}}
    assert notified(host) == "🔴 container coach-worker is exited (out of memory): no output"
    host.containers["coach-worker"] = {}
    assert [text[0] for text in host.check_run()] == ["🟢"]


def test_a_container_that_is_paused_or_missing(host: WatchHost) -> None:
    host.declare("coach-worker")
    host.containers["coach-worker"]["status"] = "paused"
    assert notified(host) == "🔴 container coach-worker is paused"
    del host.containers["coach-worker"]
    host.declare("renov-worker")
    del host.containers["renov-worker"]
    assert notified(host) == "🔴 container renov-worker is missing"


def test_an_unhealthy_container_that_stops_is_not_over(host: WatchHost) -> None:
    host.declare("coach-backend", monitored=True, stateful=True)
    host.containers["coach-backend"]["state"] = UNHEALTHY
    notified(host)
    for status in ("exited", "paused"):
        host.containers["coach-backend"] = {"status": status}
        assert host.check_run() == []
    host.containers["coach-backend"] = {"state": {"Health": {"Status": "healthy"}}}
    assert [text[0] for text in host.check_run()] == ["🟢"]


def test_what_has_a_monitor_is_left_to_it(host: WatchHost) -> None:
    host.declare("coach-backend", monitored=True)
    host.containers["coach-backend"]["status"] = "exited"
    host.check_run()
    host.later(minutes=10)
    assert host.check_run() == []


UNHEALTHY = {"Health": {"Status": "unhealthy", "Log": [{"Output": "old"}, {"Output": "no broker\n"}]}}
STARTING = {"Health": {"Status": "starting", "Log": []}}


def restarts(host: WatchHost) -> int:
    return host.arguments.count("restart coach-worker")


def test_a_container_that_hangs_is_restarted_with_a_back_off_and_a_ceiling(host: WatchHost) -> None:
    host.declare("coach-worker", monitored=True)
    worker = host.containers["coach-worker"]
    worker["state"] = UNHEALTHY
    assert notified(host) == "🔴 container coach-worker is unhealthy: no broker; restarted"
    assert restarts(host) == 1
    worker["state"] = STARTING  # neither over nor begun
    assert host.check_run() == []
    worker["state"] = UNHEALTHY
    for minutes, expected in ((10, 1), (10, 2), (30, 2), (10, 3), (1000, 3)):
        host.check_run()
        host.later(minutes)
        assert host.check_run() == []
        assert restarts(host) == expected, minutes
    worker["state"] = {"Health": {"Status": "healthy"}}
    assert [text[0] for text in host.check_run()] == ["🟢"]


def test_a_container_with_data_that_hangs_is_left_as_it_is(host: WatchHost) -> None:
    host.declare("coach-worker", stateful=True)
    host.containers["coach-worker"]["state"] = UNHEALTHY
    assert notified(host) == "🔴 container coach-worker is unhealthy: no broker"
    assert restarts(host) == 0


def test_a_full_disk_of_logs_and_state_keeps_no_message_back(host: WatchHost) -> None:
    """Neither the log, the state nor the outbox can be written."""
    host.configure(disk_alert_percent=-1)
    host.save()
    command = f"ulimit -f 0; exec {host.scripts / 'watch.sh'} --config {host.config}"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env={"PATH": f"{host.programs}:/usr/local/bin:/usr/bin:/bin"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    (message,) = host.messages()
    assert "disk of" in message


def test_an_old_backup(host: WatchHost) -> None:
    host.back_up(time.time() - 27 * 3600)
    assert host.check_run() == [f"🔴 {PIECE}: the last good backup is 27 h old"]
    host.back_up(time.time())
    assert [text[0] for text in host.check_run()] == ["🟢"]


def test_a_doubtful_backup_is_none(host: WatchHost) -> None:
    host.back_up(time.time(), doubt="shrunken")
    assert host.check_run() == [f"🔴 {PIECE}: there is no good backup"]


def test_a_damaged_backup_is_none_and_hides_no_other(host: WatchHost) -> None:
    damaged = host.backups / PIECE / "20261123T030000Z" / "manifest.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    assert [host.check_run(), host.check_run(), host.check_run()] == [[], [], []]
    host.back_up(time.time(), doubt="shrunken")
    assert host.check_run() == [f"🔴 {PIECE}: there is no good backup"]


def test_too_few_calls_say_nothing_either_way(host: WatchHost) -> None:
    host.sql["GROUP BY port"] = ['["11434", 20, 31.0]']
    assert len(host.check_run()) == 1
    host.sql["GROUP BY port"] = ['["11434", 4, 1.0]']
    host.sql['FROM "LiteLLM_SpendLogs" WHERE'] = ["[4, 0]"]
    assert host.check_run() == []


def test_a_container_that_is_restarted(host: WatchHost) -> None:
    host.containers["litellm-proxy"] = {"restarts": 3}
    assert host.check_run() == []  # what was before the first run is history
    host.containers["litellm-proxy"]["restarts"] = 4
    assert host.check_run() == [
        "🔴 container litellm-proxy was restarted by Docker: see docker logs litellm-proxy"
    ]
    assert host.check_run() == []  # not over as soon as it does not happen again
    state = json.loads((host.folder / "state" / "watch").read_text())
    state["notes"]["restarted"]["litellm-proxy"] -= 31 * 60
    (host.folder / "state" / "watch").write_text(json.dumps(state))
    assert [text[0] for text in host.check_run()] == ["🟢"]


def test_what_cannot_be_measured_is_notified_the_second_time_and_leaves_the_rest(host: WatchHost) -> None:
    host.redis["INFO memory"] = ["used_memory:900", "maxmemory:1000"]
    assert len(host.check_run()) == 1
    host.containers["shared-redis"]["status"] = "exited"
    assert host.check_run() == []
    assert host.check_run() == [
        "🔴 cannot measure memory of Redis, keys of caches, queues of Celery: no container shared-redis is running"
    ]
    host.containers["shared-redis"]["status"] = "running"
    (message,) = host.check_run()  # the memory has not become less meanwhile
    assert message.startswith("🟢 over: cannot measure")


def test_a_check_that_fails_leaves_its_incidents_open_whatever_its_prefix(host: WatchHost) -> None:
    """Under a prefix with a typing error, a check still owns the incidents that it begins."""
    host.scripts = Path(shutil.copytree(host.scripts, host.folder / "scripts"))
    for script in host.scripts.glob("watch*.py"):
        script.write_text(script.read_text().replace('"connections"', '"conections"'))
    host.sql["pg_stat_activity"] = ["[81, 100]"]
    host.redis["INFO memory"] = ["used_memory:900", "maxmemory:1000"]
    assert len(host.check_run()) == 2
    host.containers["shared-postgres"]["status"] = "exited"
    assert host.check_run() == []
    host.containers["shared-postgres"]["status"] = "running"
    host.sql["pg_stat_activity"] = ["[10, 100]"]
    (message,) = host.check_run()
    assert message.startswith("🟢 over: shared-postgres has 81 of 100 connections")


def test_each_check_has_a_prefix_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("common", "watch"):
        monkeypatch.syspath_prepend(str(CHECKOUT / "files" / folder))
    checks = importlib.import_module("watch").CHECKS
    assert len({check.prefix for check in checks}) == len({check.name for check in checks}) == len(checks)


def test_open_incidents_of_a_host_that_was_deployed_before_end_under_their_keys(host: WatchHost) -> None:
    """A state file of July 2026: the call checks were one then, whose failure is counted under its old name."""
    incidents = {
        "disk /": "disk of / is 96 % full",
        "latency heavy": "Ollama heavy took 31 s",
        "fallback rate": "22 % of 40 calls were answered by a cloud model",
        "unmeasured no container shared-postgres is running": "cannot measure calls of LiteLLM",
    }
    notes = {"failed": {"calls of LiteLLM": 2, "connections of Postgres": 2}, "restarts": {}, "restarted": {}}
    state = host.folder / "state" / "watch"
    state.parent.mkdir(exist_ok=True)
    state.write_text(json.dumps({"incidents": incidents, "notes": notes}))
    host.containers["shared-postgres"]["status"] = "exited"
    assert host.check_run() == ["🟢 over: disk of / is 96 % full"]
    host.containers["shared-postgres"]["status"] = "running"
    assert sorted(host.check_run()) == sorted(
        f"🟢 over: {text}" for key, text in incidents.items() if key != "disk /"
    )


def test_a_refusal_of_redis_is_no_measurement(host: WatchHost) -> None:
    refusal = "NOPERM User watch has no permissions to run the 'info' command"
    host.redis["INFO keyspace"] = [refusal]
    host.check_run()
    assert host.check_run() == [f"🔴 cannot measure keys of caches: Redis answered: {refusal}"]


def test_a_certificate_that_nobody_trusts(host: WatchHost) -> None:
    settings = json.loads(host.config.read_text())
    settings["certificates"] = {"address": "127.0.0.1", "port": 443, "domains": ["litellm.augmenter.pro"]}
    host.config.write_text(json.dumps(settings))
    host.check_run()
    (message,) = host.check_run()  # nothing listens there
    assert message.startswith("🔴 cannot measure certificates: litellm.augmenter.pro at 127.0.0.1: ")


def test_a_message_that_messages_arrive(host: WatchHost) -> None:
    host.telegram.status = 502
    assert host.run("watch.sh", "--config", str(host.config), "--test-message").returncode == 0
    host.telegram.status = 200
    assert host.check_run() == ["🔵 messages of this host arrive here"]


def test_a_message_is_not_longer_than_telegram_takes(host: WatchHost) -> None:
    host.sql["LiteLLM_TeamTable"] = [json.dumps(["😀" * 5000, 21, 20])]
    (message,) = host.check_run()
    assert len(message.encode("utf-16-le")) // 2 <= 4096
    assert message.endswith("😀…")


def test_a_dead_telegram_loses_nothing(host: WatchHost) -> None:
    host.telegram.status = 502
    before = host.sql["pg_stat_activity"]
    host.sql["pg_stat_activity"] = ["[99, 100]"]
    assert host.run("watch.sh", "--config", str(host.config)).returncode == 1
    host.sql["pg_stat_activity"] = before
    host.run("watch.sh", "--config", str(host.config))
    host.telegram.status = 200
    assert [text[0] for text in host.check_run()] == ["🔴", "🟢"]


@pytest.mark.parametrize(
    "spoil", [("limits", {"window_min": "much"}), ("limits", None), ("credentials", "/nowhere")]
)
def test_wrong_configuration(host: WatchHost, spoil: tuple[str, object]) -> None:
    settings = json.loads(host.config.read_text()) | {spoil[0]: spoil[1]}
    host.config.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))
    done = host.run("watch.sh", "--config", str(host.config))
    assert done.returncode == 2
    assert f"wrong configuration: {host.config}" in done.stdout

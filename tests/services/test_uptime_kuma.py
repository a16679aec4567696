"""Uptime Kuma: everything declared is up, a failure is reported once, and a person's monitors stay."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from blueprint.secrets import Secrets
from facts.uptime_kuma import PROGRAM
from group_data.all import cron_jobs
from group_data.gpu import ollama_instances
from lab.machine import Machine
from lab.paths import CHECKOUT
from tests.host.conftest import Deploy, Telegrams, await_healthy, await_true
from tests.services.conftest import DOWN, UP, Statuses

# An interval, two retries 20 s apart, and what the tries themselves take, on a machine that is busy.
NOTICED_S = 60 + 2 * 20 + 200
ROUND_S = 300  # of the watch and the GPU watchdog


@pytest.fixture
def person(machine: Machine, password: str) -> Callable[..., dict[str, Any]]:
    """Do what a person would on Uptime Kuma's pages; gives its monitors by name."""

    def act(*actions: dict[str, Any]) -> dict[str, Any]:
        request = {"username": "admin", "password": password, "actions": actions}
        program = shlex.quote(PROGRAM.read_text())
        command = "docker run --rm -i --network container:uptime-kuma --entrypoint node"
        done = subprocess.run(
            [
                *("ssh", "-F", str(machine.lab.state / "ssh_config"), "lab"),
                f"{command} $(docker inspect --format '{{{{.Image}}}}' uptime-kuma) -e {program}",
            ],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return {monitor["name"]: monitor for monitor in json.loads(done.stdout)["monitors"]}

    return act


@pytest.fixture
def messages_about(telegrams: Telegrams) -> Callable[[str], list[str]]:
    """Messages about a monitor since the test began; a job that missed its round may have more."""
    return lambda name: [text for text in telegrams() if f"[{name}]" in text]


@pytest.mark.checklist("3.3", "F.5")
def test_everything_of_the_requirements_is_watched_and_up(
    statuses: Statuses, person: Callable[..., dict[str, Any]]
) -> None:
    expected = {
        *("shared-redis", "shared-whisper", "bull-board", "flower", "flower-voicejury", "flower-renov-bati"),
        *(f"ollama-{instance.name}" for instance in ollama_instances),
        *(job.name for job in cron_jobs),
    }
    # Its metrics have no monitor that heard nothing since it was started; a job that other tests kept from running is
    # up again with its next round.
    assert person().keys() >= expected
    await_true(
        lambda: set(statuses().values()) == {UP}, NOTICED_S + 2 * ROUND_S, "Uptime Kuma with all monitors up"
    )


@pytest.mark.checklist("3.4")
def test_a_service_that_stops_is_reported_once_and_so_is_its_return(
    machine: Machine, statuses: Statuses, messages_about: Callable[[str], list[str]]
) -> None:
    name = "flower-voicejury"
    machine.run(f"docker stop {name}")
    try:
        await_true(lambda: statuses()[name] == DOWN, NOTICED_S, "monitor that is down")
    finally:
        machine.run(f"docker start {name}")
        await_healthy(machine)
    await_true(lambda: statuses()[name] == UP, NOTICED_S, "monitor that is up again")
    await_true(lambda: len(messages_about(name)) >= 2, 120, "second message")
    down, up = messages_about(name)
    assert "Down" in down
    assert "Up" in up


def test_a_job_that_fails_is_reported_at_once(
    machine: Machine, statuses: Statuses, messages_about: Callable[[str], list[str]]
) -> None:
    name = "docker-cleanup"
    machine.run(f"/opt/scripts/heartbeat.sh {name} 3")
    await_true(lambda: messages_about(name), 120, "message")
    await_true(lambda: statuses()[name] == DOWN, 60, "monitor that is down")
    machine.run(f"/opt/scripts/heartbeat.sh {name} 0")
    await_true(lambda: len(messages_about(name)) >= 2, 120, "message of recovery")
    await_true(lambda: statuses()[name] == UP, 60, "monitor that is up again")
    down, up = messages_about(name)
    assert "ended with status 3" in down
    assert "Up" in up


def test_what_a_person_does_is_left_alone_but_for_what_is_declared(
    person: Callable[..., dict[str, Any]], deploy: Deploy
) -> None:
    blog = {"name": "my blog", "type": "port", "hostname": "127.0.0.1", "port": 3001, "interval": 60}
    settings = {**blog, "description": "mine", "maxretries": 0, "retryInterval": 60}
    added = person({"action": "add", "settings": settings})
    try:
        assert deploy().changed == []
        ours = added["bull-board"]
        person({"action": "edit", "id": ours["id"], "settings": {"interval": 3600}})
        assert deploy().changed == ["Monitors, watch and backups | Monitors"]
        after = person()
        assert after["bull-board"]["settings"]["interval"] == 60
        assert _settled(after["my blog"]) == _settled(added["my blog"])
    finally:
        person({"action": "delete", "id": added["my blog"]["id"]})


def _settled(monitor: dict[str, Any]) -> dict[str, Any]:
    """A monitor without what changes by itself."""
    return {key: value for key, value in monitor.items() if key not in ("status", "message")}


def test_no_secret_is_in_a_process_list_or_a_log(machine: Machine, password: str) -> None:
    secrets = Secrets.open("lab", CHECKOUT / "secrets")
    hidden = [password, *(secrets.provided(f"uptime_kuma/push/{job.name}") for job in cron_jobs)]
    for command in ("ps -eo args", "docker logs uptime-kuma 2>&1"):
        shown = machine.run(command).stdout
        assert not [secret for secret in hidden if secret in shown]
    modes = machine.run("stat -c '%a' /etc/sourcefast/heartbeats /etc/sourcefast/heartbeats/*").stdout.split()
    assert modes == ["700", *["600"] * len(cron_jobs)]

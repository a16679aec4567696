"""The hardware upgrade of requirements 12, phase 0, and the way back: the lab presents itself as either machine.

Phases 0 and 1 are there: units of the host, and containers with data.
"""

from __future__ import annotations

import json

import pytest

from blueprint import backup
from blueprint.applied import Applied
from blueprint.model import HardwareProfile
from group_data import celeron_g4930, i7_9700k
from group_data.gpu import ollama_instances, whisper
from lab.machine import Machine
from tests.host.conftest import CompletedRun, all_warm, await_true, run_pyinfra
from tests.migration.old_server import sql
from tests.services.declared import everything

# In the order in which they are stopped: each before those that it needs.
CONTAINERS = (
    *("litellm-proxy", "langfuse-worker", "langfuse-web", "minio", "clickhouse"),
    *("traefik", "shared-redis", "shared-postgres"),
)
OLD, NEW = celeron_g4930.profile, i7_9700k.profile
MARKS = "ls /var/lib/sourcefast/upgrade"
ROWS = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM before t;"


def deploy(*arguments: str) -> CompletedRun:
    """Phases 0 and 1: what runs as units of the host, and containers that hold data."""
    return run_pyinfra("--data", "phase=hardware,litellm", *arguments)


def on(machine: HardwareProfile) -> tuple[str, str]:
    """What production.yaml would say of the machine."""
    return ("--data", f"hardware_profile={machine.name}")


def to(machine: HardwareProfile) -> tuple[str, str]:
    return ("--data", f"upgrade_to={machine.name}")


def active(machine: Machine) -> dict[str, bool]:
    """Which of the units that an upgrade stops are up."""
    units = ["cron.service", whisper.unit, *(instance.unit for instance in ollama_instances)]
    return {unit: machine.run(f"systemctl is-active {unit}", check=False).returncode == 0 for unit in units}


def running(machine: Machine) -> set[str]:
    return set(machine.run("docker ps --format '{{.Names}}'").stdout.split())


def await_all_well(machine: Machine) -> None:
    """Everything that an upgrade stops runs again, with a model on each card."""
    # Docker asks whisper for its health twice a minute.
    await_true(lambda: _all_well(machine), 90, "host with everything up")


def _all_well(machine: Machine) -> bool:
    healthy = "docker ps --filter health=healthy --format '{{.Names}}'"
    up = set(machine.run(healthy).stdout.split()) >= {*CONTAINERS, whisper.name}
    return up and all(active(machine).values()) and all_warm(machine)


def rows(machine: Machine) -> list[str]:
    return sql(machine, "shared-postgres", "litellm", ROWS)


@pytest.fixture(scope="module")
def server(machine: Machine) -> Machine:
    done = deploy()
    assert done.rc == 0, done.output
    fill = "INSERT INTO before SELECT i, md5(i::text) FROM generate_series(1, 999) i;"
    sql(machine, "shared-postgres", "litellm", f"CREATE TABLE before (id int, v text); {fill}")
    return machine


def parallel(machine: Machine, instance: str) -> str:
    return machine.run(f"grep NUM_PARALLEL /etc/ollama/{instance}.env").stdout.strip()


@pytest.mark.checklist("0.2", "0.3")
def test_everything_is_saved_and_stopped_and_a_person_learns_what_to_do(server: Machine) -> None:
    server.run("touch /run/before")
    done = deploy(*to(NEW))
    assert done.rc == 0, done.output
    assert not any(active(server).values())
    assert running(server) == set()
    assert server.run(MARKS).stdout.split() == [NEW.name]
    for words in ("systemctl poweroff", f"hardware_profile: {NEW.name}", "run the same without upgrade_to"):
        assert words in done.output
    stopped = [
        line.split()[-2].rstrip(":") for line in done.output.splitlines() if line.endswith(": stopped")
    ]
    assert [name for name in stopped if name in CONTAINERS] == list(CONTAINERS)
    again = deploy(*to(NEW))
    assert again.changed == []


@pytest.mark.checklist("0.2")
def test_the_backup_of_that_moment_has_every_row(server: Machine) -> None:
    new = "find /opt/backups -name manifest.json -newer /run/before -printf '%P\\n'"
    saved = {path.rsplit("/", 2)[0] for path in server.run(new).stdout.split()}
    applied = Applied(everything().blueprint, {"hardware", "litellm"})
    assert saved >= {piece for pieces in backup.pieces(applied).values() for piece in pieces}
    manifest = "cat $(ls -d /opt/backups/postgres/shared-postgres/litellm/[!.]* | tail -n 1)/manifest.json"
    assert json.loads(server.run(manifest).stdout)["contents"]["rows"]["public.before"] == 999


def test_a_run_for_the_old_machine_does_not_start_it_again(server: Machine) -> None:
    done = deploy()
    assert done.rc != 0
    assert f"upgrade to {NEW.name}" in done.output
    assert f"--data upgrade_to={OLD.name}" in done.output
    assert not any(active(server).values())


def test_a_machine_that_is_not_yet_upgraded_is_seen(server: Machine) -> None:
    done = deploy(*on(NEW))
    assert done.rc != 0
    for words in ("with 2 cores", f"{NEW.cpu_model} with 8 cores", "28 GiB"):
        assert words in done.output
    assert server.run(MARKS).stdout.split() == [NEW.name]


@pytest.mark.checklist("0.5", "0.7", "0.8")
def test_after_the_boot_it_is_verified_retuned_and_started(server: Machine) -> None:
    server.present(NEW.name)
    server.reboot()
    assert not running(server) & {*CONTAINERS}
    part = run_pyinfra(*on(NEW))
    assert part.rc == 0, part.output
    assert "still stopped for the upgrade: --data phase=litellm" in part.output
    assert server.run(MARKS).stdout.split() == [NEW.name]
    done = deploy(*on(NEW))
    assert done.rc == 0, done.output
    assert parallel(server, "heavy") == "OLLAMA_NUM_PARALLEL=6"
    assert parallel(server, "light") == "OLLAMA_NUM_PARALLEL=12"
    await_all_well(server)
    assert rows(server)[0].startswith("999|")
    assert server.run(MARKS, check=False).stdout == ""
    assert deploy(*on(NEW)).changed == []


def test_an_abandoned_one_leaves_everything_as_it_was(server: Machine) -> None:
    before = rows(server)
    assert deploy(*on(NEW), *to(OLD)).rc == 0
    assert not any(active(server).values())
    done = deploy(*on(NEW), *to(NEW))
    assert done.rc == 0, done.output
    await_all_well(server)
    assert rows(server) == before
    assert server.run(MARKS, check=False).stdout == ""


def test_the_way_back(server: Machine) -> None:
    before = rows(server)
    assert deploy(*on(NEW), *to(OLD)).rc == 0
    server.present(OLD.name)
    server.reboot()
    done = deploy()
    assert done.rc == 0, done.output
    assert parallel(server, "heavy") == "OLLAMA_NUM_PARALLEL=3"
    await_all_well(server)
    assert rows(server) == before
    assert server.run(MARKS, check=False).stdout == ""


@pytest.mark.parametrize("name", ["i9", "celeron"])
def test_a_machine_that_nobody_declares(server: Machine, name: str) -> None:
    done = deploy("--data", f"upgrade_to={name}")
    assert done.rc != 0
    assert f"'{name}'" in done.output
    assert "i7_9700k" in done.output
    assert "Traceback" not in done.output

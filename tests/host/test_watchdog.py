"""The GPU watchdog on the real machine: one message when an incident begins, one when it ends, and its repairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from group_data.gpu import ollama_instances
from lab import upstream
from lab.machine import Machine
from tests.host.conftest import (
    Telegrams,
    all_warm,
    await_true,
    cards,
    declared_placement,
    repair_instances,
)

# cron's own watchdog and nightly restart stay out while their incidents are made up.
pytestmark = pytest.mark.usefixtures("quiet")
INSTANCES = {instance.name: instance for instance in ollama_instances}
SCRIPT = "/opt/scripts/gpu-watchdog.sh"
CONFIG = "/run/watchdog/config.ini"
CheckRun = Callable[[], int]


@pytest.fixture
def check_run(machine: Machine) -> Iterator[CheckRun]:
    """One run of the watchdog with the deployed settings, but its own state and shorter limits. Returns the status."""
    settings = {"answer_s": "3", "xid_quiet_min": "0", "state": "/run/watchdog/state"}
    program = " ".join(f"-e 's|^{key} = .*|{key} = {value}|'" for key, value in settings.items())
    machine.run(f"mkdir -p /run/watchdog && sed {program} /etc/sourcefast/gpu-watchdog.ini >{CONFIG}")
    for _ in range(2):  # an error of the driver that an earlier test left in the journal begins, and is over
        machine.run(f"{SCRIPT} --config {CONFIG}")

    def run() -> int:
        return machine.run(f"{SCRIPT} --config {CONFIG}", check=False, timeout=600).returncode

    yield run
    machine.run("rm -r /run/watchdog")
    repair_instances(machine)


def test_a_healthy_machine_sends_no_message(machine: Machine, telegrams: Telegrams) -> None:
    """With the very settings that cron uses."""
    machine.run(SCRIPT)  # ends incidents that cron's last run began, while an earlier test broke something
    before = telegrams()
    done = machine.run(f"{SCRIPT}; {SCRIPT}")
    assert done.stdout == ""
    assert telegrams() == before


def test_a_stopped_instance_is_restarted_and_reported_once(
    machine: Machine, check_run: CheckRun, telegrams: Telegrams
) -> None:
    machine.run("systemctl stop ollama@reasoning")
    assert check_run() == 0
    assert len(telegrams()) == 1
    assert telegrams()[0].startswith("🔴 lab ")
    assert telegrams()[0].endswith(
        "Ollama reasoning does not answer on port 11438; ollama@reasoning.service restarted"
    )
    await_true(lambda: all_warm(machine), 300, "warm instance")
    assert check_run() == 0
    assert check_run() == 0
    _, over = telegrams()
    assert over.startswith("🟢 lab ")
    assert "over: Ollama reasoning does not answer" in over


def test_a_blocked_instance_is_restarted(machine: Machine, check_run: CheckRun, telegrams: Telegrams) -> None:
    """It takes connections and never answers."""
    before = machine.run("systemctl show --value -p MainPID ollama@light").stdout
    machine.run("systemctl kill --signal=STOP ollama@light")
    assert check_run() == 0
    assert machine.run("systemctl show --value -p MainPID ollama@light").stdout != before
    await_true(lambda: all_warm(machine), 300, "warm instance")
    check_run()
    assert [text[0] for text in telegrams()] == ["🔴", "🟢"]
    assert "Ollama light does not answer" in telegrams()[0]


def test_one_that_stays_silent_is_restarted_once(
    machine: Machine, check_run: CheckRun, telegrams: Telegrams
) -> None:
    delay = f"/var/lib/gpu-sim/ollama-delay-{INSTANCES['heavy'].port}"
    machine.run(f"echo 3600 >{delay}")
    check_run()
    restarted = machine.run("systemctl show --value -p InvocationID ollama@heavy").stdout
    check_run()
    assert machine.run("systemctl show --value -p InvocationID ollama@heavy").stdout == restarted
    assert len(telegrams()) == 1
    machine.run(f"rm {delay}")
    check_run()
    assert [text[0] for text in telegrams()] == ["🔴", "🟢"]


def test_a_missing_card_is_reported_and_its_instance_left_alone(
    machine: Machine, check_run: CheckRun, telegrams: Telegrams
) -> None:
    card = declared_placement(machine)["ollama@vision.service"]
    before = machine.run("systemctl show --value -p InvocationID ollama@vision").stdout
    machine.run(f"gpu-sim take-away {card}")
    check_run()
    check_run()
    assert len(telegrams()) == 1
    assert f"GPU missing: RTX 3070 at 06:00.0 ({card[:12]}" in telegrams()[0]
    assert machine.run("systemctl show --value -p InvocationID ollama@vision").stdout == before
    machine.run("gpu-sim give-back")
    check_run()
    check_run()
    assert [text[0] for text in telegrams()] == ["🔴", "🟢"]


def test_an_error_of_the_driver_is_reported(
    machine: Machine, check_run: CheckRun, telegrams: Telegrams
) -> None:
    machine.run("gpu-sim xid 4 79")
    check_run()
    assert len(telegrams()) == 1
    assert "GPU error on RTX 3060 Ti at 08:00.0" in telegrams()[0]
    assert "Xid 79" in telegrams()[0]
    check_run()
    check_run()
    assert [text[0] for text in telegrams()] == ["🔴", "🟢"]


def test_memory_nearly_full_for_two_runs_is_reported(
    machine: Machine, check_run: CheckRun, telegrams: Telegrams
) -> None:
    card = cards(machine)[0]
    query = f"nvidia-smi --id={card} --query-gpu=memory.used,memory.total --format=csv,noheader,nounits"
    used, total = map(int, machine.run(query).stdout.split(","))
    machine.run(f"gpu-sim fill {card} {total * 93 // 100 - used}")
    try:
        check_run()
        assert telegrams() == [], "a model being exchanged fills a card for a moment"
        check_run()
        check_run()
        assert len(telegrams()) == 1
        assert "VRAM 9" in telegrams()[0]
    finally:
        machine.run(f"gpu-sim free {card}")
    check_run()
    assert [text[0] for text in telegrams()] == ["🔴", "🟢"]


def test_what_telegram_does_not_take_is_reported_later(
    machine: Machine, check_run: CheckRun, telegrams: Telegrams
) -> None:
    upstream.disturb(machine.lab, "api.telegram.org", status=502)
    machine.run("gpu-sim xid 1 31")
    assert check_run() == 1
    assert check_run() == 1
    assert telegrams() == []
    upstream.recover(machine.lab)
    assert check_run() == 0
    assert check_run() == 0
    assert [text[0] for text in telegrams()] == ["🔴", "🟢"]


def test_telegram_being_unreachable_does_not_stop_the_repair(
    machine: Machine, check_run: CheckRun, telegrams: Telegrams
) -> None:
    upstream.disturb(machine.lab, "api.telegram.org", status=500)
    machine.run("systemctl stop ollama@twitch")
    assert check_run() == 1
    await_true(lambda: all_warm(machine), 300, "warm instance")
    upstream.recover(machine.lab)
    assert check_run() == 0
    assert [text[0] for text in telegrams()] == ["🔴", "🟢"]


def test_a_run_that_meets_the_lock_is_left_out(
    machine: Machine, check_run: CheckRun, telegrams: Telegrams
) -> None:
    """The lock is held by the fixture `quiet`, as the nightly maintenance holds it."""
    job = r"sed -n 's/^\*\/5 .* root //p' /etc/cron.d/gpu-watchdog"
    assert "flock" in machine.run(job).stdout
    machine.run("systemctl stop ollama@twitch")
    assert machine.run(f"{job} | sh -e", check=False).returncode == 75  # distinct from a failure
    assert machine.run("systemctl is-active ollama@twitch", check=False).stdout == "inactive\n"
    assert telegrams() == []


def test_the_nightly_maintenance_restarts_one_after_the_other(machine: Machine) -> None:
    def show(unit: str, name: str) -> str:
        return machine.run(f"systemctl show --value --property={name} {unit}").stdout.strip()

    before = {name: show(instance.unit, "InvocationID") for name, instance in INSTANCES.items()}
    done = machine.run("/opt/scripts/ollama-maintenance.sh", timeout=900)
    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        f"{name}:" for name in sorted(INSTANCES)
    ]
    assert all_warm(machine)
    for name, instance in INSTANCES.items():
        assert show(instance.unit, "InvocationID") != before[name], name
    for earlier, later in zip(sorted(INSTANCES), sorted(INSTANCES)[1:], strict=False):
        warm = int(show(f"ollama-warmup@{earlier}", "ActiveEnterTimestampMonotonic"))
        down = int(show(f"ollama@{later}", "InactiveEnterTimestampMonotonic"))
        assert warm <= down, f"{later} went down before {earlier} was warm"

"""Who may log in over SSH, tried with real clients, and settings that would lock us out."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.machine import Machine
from operations.script import FILES
from phases.hardware.ssh import PATH
from tests.host.conftest import CompletedRun, Deploy, await_true, ended, pyinfra_command

CASE = "/etc/ssh/sshd_config.d/60-case.conf"
OWN = "/etc/ssh/sshd_config.d/40-own.conf"


def effective(machine: Machine) -> dict[str, str]:
    """What sshd says that it does."""
    lines = machine.run("sshd -T").stdout.splitlines()
    return {keyword: value for keyword, _, value in (line.partition(" ") for line in lines)}


def ssh(machine: Machine, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A new login, and no connection that is there already."""
    alone = ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
    command = ["ssh", "-F", str(machine.lab.state / "ssh_config"), *alone, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_key_is_the_only_way_in(machine: Machine) -> None:
    refused = ssh(machine, "-o", "PubkeyAuthentication=no", "-o", "BatchMode=no", "lab", "true")
    assert "Permission denied (publickey)" in refused.stderr
    assert ssh(machine, "lab", "true").returncode == 0


def test_the_agent_of_a_person_stays_with_him(machine: Machine, tmp_path: Path) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        await_true(socket.exists, 10, "socket of the agent")
        offered = ssh(machine, "-o", f"ForwardAgent={socket}", "lab", "echo agent: $SSH_AUTH_SOCK")
        assert offered.stdout == "agent:\n", offered.stderr
    finally:
        agent.terminate()
        agent.wait()


def test_what_the_owner_has_set_is_named_and_left(machine: Machine, deploy: Deploy) -> None:
    machine.run(f"cat >{OWN}", input="MaxAuthTries 10\nMatch User nobody\n    X11Forwarding yes\n")
    try:
        run = deploy()
        assert run.changed == ["Phase 0: hardware | SSH | Keys only"]
        assert f"found MaxAuthTries 10 in {OWN}:1; expected 4" in run.output
        assert f"found X11Forwarding yes in {OWN}:3 (Match User nobody); expected no" in run.output
        assert effective(machine)["maxauthtries"] == "10"
    finally:
        machine.run(f"rm {OWN}")
        again = deploy()
    assert again.changed == ["Phase 0: hardware | SSH | Keys only"]
    assert effective(machine)["maxauthtries"] == "4"


@pytest.fixture
def no_case(machine: Machine) -> Iterator[None]:
    """Whatever becomes of a case, it is gone afterwards."""
    yield
    machine.run(f"rm -rf {CASE} /run/ssh-settings; systemctl reload ssh")


def settings(case: dict[str, str]) -> CompletedRun:
    """Have sshd do so."""
    deploy = ("tests/host/ssh_deploy.py",)
    return ended(pyinfra_command(deploy=deploy), {**os.environ, "SSH_CASE": json.dumps(case)})


def left_over(machine: Machine) -> list[str]:
    """What is left of a case."""
    output = machine.run(
        f"ls -d {CASE}* /run/ssh-settings* 2>/dev/null; systemctl list-timers ssh-settings* --no-legend",
        check=False,
    )
    return output.stdout.split()


@pytest.mark.usefixtures("no_case")
def test_settings_that_lock_us_out_are_taken_back(machine: Machine) -> None:
    locked_out = settings({"AllowUsers": "nobody"})
    assert locked_out.rc != 0
    assert (
        "found no new SSH connection to this host possible with the new settings of sshd" in locked_out.output
    )
    await_true(lambda: not left_over(machine), 30, "end of the trial")
    assert ssh(machine, "lab", "true").returncode == 0


@pytest.mark.usefixtures("no_case")
def test_settings_that_sshd_refuses_change_nothing(machine: Machine) -> None:
    refused = settings({"LoginGraceTime": "never"})
    assert refused.rc != 0
    assert "found that sshd refuses these settings" in refused.output
    assert left_over(machine) == []


@pytest.mark.usefixtures("no_case")
def test_a_trial_that_nobody_confirms_ends_by_itself(machine: Machine) -> None:
    """The run was interrupted. And what was there before comes back, not nothing."""
    before = machine.run(f"cat {PATH}").stdout
    script = (FILES / "ssh/try.sh").read_text()
    started = time.monotonic()
    machine.run(
        f"head -c {len(script.encode())} >/run/try.sh; bash /run/try.sh {PATH} 5 ssh-settings-rollback; rm /run/try.sh",
        input=script + "MaxAuthTries 5\n",
    )
    assert effective(machine)["maxauthtries"] == "5"
    await_true(lambda: effective(machine)["maxauthtries"] == "4", 30, "former settings")
    assert time.monotonic() - started > 4
    assert machine.run(f"cat {PATH}").stdout == before
    assert left_over(machine) == []

"""The supervisor of an nspawn machine, with stand-in commands instead of nspawn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import nspawn, processes
from lab.paths import CHECKOUT


@pytest.fixture
def own_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nspawn, "_enter_cgroup", lambda name: None)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("own_cgroup")
def test_a_machine_that_reboots_is_booted_again_until_it_powers_off(tmp_path: Path) -> None:
    boots = tmp_path / "boots"
    script = f'echo boot >>{boots}; [ "$(wc -l <{boots})" -lt 3 ] && exit 133; exit 0'
    assert nspawn.supervise("test", ["sh", "-c", script]) == 0
    assert boots.read_text() == "boot\n" * 3


@pytest.mark.usefixtures("own_cgroup")
def test_a_machine_that_fails_is_left_alone() -> None:
    assert nspawn.supervise("test", ["sh", "-c", "exit 1"]) == 1


def test_a_stopped_machine_is_not_booted_again(tmp_path: Path) -> None:
    boots = tmp_path / "boots"
    script = f"trap 'exit 133' TERM; echo boot >>{boots}; while :; do sleep 0.05; done"
    code = (
        "from lab import nspawn; nspawn._enter_cgroup = lambda name: None; "
        f"raise SystemExit(nspawn.supervise('test', ['sh', '-c', {script!r}]))"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT)
    wait_for(boots.exists)
    supervisor.terminate()
    assert supervisor.wait(timeout=10) == 133
    assert boots.read_text() == "boot\n"


def test_a_process_is_known_by_more_than_its_number(tmp_path: Path) -> None:
    identity = tmp_path / "supervisor"
    assert not nspawn.running(tmp_path)
    processes.record(identity, os.getpid())
    assert nspawn.running(tmp_path)
    identity.write_text(f"{os.getpid()} 1\n")  # its number was given to another process since
    assert not nspawn.running(tmp_path)


@pytest.mark.parametrize("legacy", [True, False])
def test_the_v1_hierarchy_is_asked_for_only_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    monkeypatch.setattr(nspawn, "legacy_cgroups", lambda: legacy)
    command = nspawn.boot_command("sf7", Path("/root-of-it"), ["--network-bridge=sf7br"])
    assert ("systemd.unified_cgroup_hierarchy=0" in command) is legacy
    assert ("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY" in nspawn.environment()) is legacy
    assert {"--machine=sf7", "--directory=/root-of-it", "--boot", "--network-bridge=sf7br"} <= set(command)

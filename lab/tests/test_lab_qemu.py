"""The machine on QEMU, without QEMU: its arguments, and what is found out once."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from lab import backends, network, processes, qemu
from lab.nspawn_machine import NspawnMachine
from lab.paths import Lab
from lab.qemu_machine import QemuMachine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QemuMachine:
    monkeypatch.setattr(qemu, "accelerator", lambda: "tcg")
    monkeypatch.setattr(network, "plug", lambda lab: "port")
    monkeypatch.setattr(network, "unplug", lambda lab: None)
    machine = QemuMachine(Lab(tmp_path, 7))
    machine.disks.mkdir(parents=True)
    return machine


def started_with(machine: QemuMachine, monkeypatch: pytest.MonkeyPatch) -> str:
    """QEMU's arguments at a start."""
    command: list[str] = []

    def boot(arguments: list[str], parameters: str, console: Path) -> subprocess.Popen[bytes]:
        command.extend([*arguments, parameters])
        return subprocess.Popen(["true"])

    monkeypatch.setattr(qemu, "boot", boot)
    machine._boot()
    return " ".join(command)


def test_it_has_the_processor_and_the_memory_of_its_profile(
    machine: QemuMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.present("celeron_g4930")
    assert "Celeron(R) G4930 CPU @ 3.20GHz -smp 2 -m 12G" in started_with(machine, monkeypatch)
    machine.present("i7_9700k")
    assert "i7-9700K CPU @ 3.20GHz -smp 8 -m 28G" in started_with(machine, monkeypatch)


def test_its_clock_is_its_own(machine: QemuMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.present("celeron_g4930")
    assert "-rtc base=utc" in started_with(machine, monkeypatch)
    machine.clock = "2020-01-01T00:00:00"
    assert "-rtc base=2020-01-01T00:00:00" in started_with(machine, monkeypatch)


def test_its_plug_is_pulled_whatever_its_disks_are_called(machine: QemuMachine) -> None:
    other = machine.folder / "other"
    other.mkdir()
    running = subprocess.Popen(["sleep", "60"])
    processes.record(other / "process", running.pid)
    try:
        machine.stop(hard=True)
        assert running.wait(timeout=10) == -signal.SIGKILL
    finally:
        running.kill()
    assert not (other / "process").exists()


def test_modules_are_loaded_after_those_that_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "modules", lambda: tmp_path)
    (tmp_path / "modules.dep").write_text(
        "kernel/a.ko.xz:\nkernel/b.ko.xz: kernel/a.ko.xz\nkernel/c.ko.xz: kernel/b.ko.xz kernel/a.ko.xz\n"
    )
    order = [path.name.partition(".")[0] for path in qemu._in_order(["c", "built-in", "a"])]
    assert order == ["a", "b", "c"]


def test_the_accelerator_is_tried_once_a_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def answers() -> bool:
        tried.append(os.getpid())
        return True

    monkeypatch.setattr(qemu, "CACHE", tmp_path)
    monkeypatch.setattr(qemu, "kernel", lambda: "6.12")
    monkeypatch.setattr(qemu, "KVM", tmp_path)
    monkeypatch.setattr(qemu, "_answers_under_kvm", answers)
    for _ in range(2):
        assert qemu.accelerator.__wrapped__() == "kvm"
    assert len(tried) == 1
    record = tmp_path / "accelerator.json"
    record.write_text(record.read_text().replace("6.12", "6.11"))  # another kernel
    monkeypatch.setattr(qemu, "_answers_under_kvm", lambda: False)
    assert qemu.accelerator.__wrapped__() == "tcg"


def test_without_kvm_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "CACHE", tmp_path)
    monkeypatch.setattr(qemu, "kernel", lambda: "6.12")
    monkeypatch.setattr(qemu, "KVM", tmp_path / "none")
    monkeypatch.setattr(qemu, "_answers_under_kvm", lambda: True)
    assert qemu.accelerator.__wrapped__() == "tcg"


def test_the_backend_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path, 7)
    monkeypatch.delenv("LAB_BACKEND", raising=False)
    assert backends.server(lab).disks == tmp_path / ".lab/machine"
    monkeypatch.setenv("LAB_BACKEND", "qemu")
    assert backends.server(lab).disks == tmp_path / ".lab/qemu/machine"
    monkeypatch.setenv("LAB_BACKEND", "vmware")
    with pytest.raises(SystemExit, match="found 'vmware', expected one of nspawn, qemu"):
        backends.server(lab)


def test_the_kind_that_runs_is_stopped_before_its_port_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []

    class Running(NspawnMachine):
        running = True

        def stop(self, *, hard: bool = False) -> None:
            stopped.append("running")

    class Off(NspawnMachine):
        running = False

        def stop(self, *, hard: bool = False) -> None:
            stopped.append("off")

    monkeypatch.setattr(backends, "BACKENDS", {"one": Off, "other": Running})
    backends.stop(Lab(tmp_path, 7))
    assert stopped == ["running", "off"]

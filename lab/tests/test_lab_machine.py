"""The disks of the lab's machine: snapshots that depend on one another, without a running machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lab import qemu
from lab.machine import layers_of, midday
from lab.nspawn_machine import NspawnMachine
from lab.paths import Lab
from lab.qemu_machine import QemuMachine


class UnpluggedNspawn(NspawnMachine):
    """A machine that is never booted: what is tried is what becomes of its disks."""

    def start(self) -> None:
        """Nothing to boot."""

    def stop(self, *, hard: bool = False) -> None:
        """Nothing to shut down."""

    def write(self, text: str) -> None:
        """What the system inside writes lands in the writable layer."""
        (self.disks / "upper" / "file").write_text(text)

    def read(self) -> str:
        """What the system inside sees: the topmost layer that has the file."""
        layers = [self.disks / "upper", *layers_of(self.disks)]
        return next((layer / "file").read_text() for layer in layers if (layer / "file").exists())


class UnpluggedQemu(QemuMachine):
    """The same of images, whose text is what was written, or where to read on."""

    def start(self) -> None:
        """Nothing to boot."""

    def stop(self, *, hard: bool = False) -> None:
        """Nothing to shut down."""

    def write(self, text: str) -> None:
        """What the system inside writes lands in its own image."""
        (self.disks / "system.qcow2").write_text(text)

    def read(self) -> str:
        """What the system inside sees: the topmost image that has anything."""
        text = (self.disks / "system.qcow2").read_text()
        while text.startswith("above "):
            text = Path(text.removeprefix("above ")).read_text()
        return text


Unplugged = UnpluggedNspawn | UnpluggedQemu


def stand_in_image(*arguments: str) -> None:
    """What `qemu-img create` is asked for, without QEMU."""
    Path(arguments[-1]).write_text(f"above {arguments[arguments.index('-b') + 1]}")


@pytest.fixture(params=[UnpluggedNspawn, UnpluggedQemu], ids=["nspawn", "qemu"])
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Unplugged:
    monkeypatch.setattr(qemu, "image", stand_in_image)
    machine: Unplugged = request.param(Lab(tmp_path, 1))
    machine.disks.mkdir(parents=True)
    for part in ("upper", "docker"):
        (machine.disks / part).mkdir()
    for file in ("system.qcow2", "docker.qcow2", "profile"):
        (machine.disks / file).touch()
    (machine.disks / "lower").write_text(str(tmp_path / "delivered"))
    return machine


def test_a_snapshot_is_returned_to(machine: Unplugged) -> None:
    machine.write("before")
    machine.snapshot("one")
    machine.write("after")
    (machine.disks / "docker" / "image").mkdir(parents=True)
    machine.restore("one")
    assert machine.read() == "before"
    assert not (machine.disks / "docker" / "image").exists()


def test_a_machine_goes_on_from_its_snapshot(machine: Unplugged) -> None:
    machine.write("before")
    machine.snapshot("one")
    assert machine.read() == "before"


def test_a_snapshot_is_taken_again_by_a_machine_that_depends_on_it(machine: Unplugged) -> None:
    machine.write("first")
    machine.snapshot("one")
    machine.restore("one")
    machine.snapshot("one")  # nothing of its own: the file is in the layer of the snapshot that is replaced
    assert machine.read() == "first"
    machine.restore("one")
    assert machine.read() == "first"


def test_layers_that_no_machine_uses_are_removed(machine: Unplugged) -> None:
    machine.write("first")
    machine.snapshot("one")
    machine.restore("one")
    machine.write("second")
    machine.scrap()
    machine._return_to(machine.folder / "snapshots" / "one")
    machine.write("third")
    machine.snapshot("two")
    assert len(list(machine.folder.glob("layers/snapshot-*"))) == 2


def test_an_unknown_snapshot_is_named_with_the_known_ones(machine: Unplugged) -> None:
    machine.snapshot("one")
    with pytest.raises(SystemExit, match=r"no snapshot 'two'; there are: one"):
        machine.restore("two")


@pytest.mark.parametrize("hour", range(24))
def test_it_is_midday_at_whatever_hour_a_machine_starts(monkeypatch: pytest.MonkeyPatch, hour: int) -> None:
    now = datetime(2026, 11, 22, hour, 30, tzinfo=UTC)
    monkeypatch.setattr(time, "gmtime", lambda: now.timetuple())
    assert now.astimezone(ZoneInfo(midday())).hour == 12

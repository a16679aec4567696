"""The disks of the lab's machine: snapshots that depend on one another, without a running machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lab.machine import Machine, midday
from lab.paths import Lab


class Unplugged(Machine):
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
        lower = (self.disks / "lower").read_text().split()
        layers = [self.disks / "upper", *map(Path, lower)]
        return next((layer / "file").read_text() for layer in layers if (layer / "file").exists())


@pytest.fixture
def machine(tmp_path: Path) -> Unplugged:
    machine = Unplugged(Lab(tmp_path, 1))
    for part in ("upper", "docker"):
        (machine.disks / part).mkdir(parents=True)
    (machine.disks / "lower").write_text(str(tmp_path / "delivered"))
    return machine


def test_a_snapshot_is_returned_to(machine: Unplugged) -> None:
    machine.write("before")
    machine.snapshot("one")
    machine.write("after")
    (machine.disks / "docker" / "image").touch()
    machine.restore("one")
    assert machine.read() == "before"
    assert not (machine.disks / "docker" / "image").exists()


def test_a_snapshot_is_taken_again_by_a_machine_that_depends_on_it(machine: Unplugged) -> None:
    machine.write("first")
    machine.snapshot("one")
    machine.restore("one")
    machine.snapshot("one")  # nothing of its own: the file is in the layer of the snapshot that is replaced
    assert machine.read() == "first"
    machine.restore("one")
    assert machine.read() == "first"


def test_layers_that_no_machine_uses_are_removed(machine: Unplugged) -> None:
    for text in ("first", "second"):
        machine.write(text)
        machine.snapshot("one")
    layers = list((machine.lab.state / "layers").glob("snapshot-*"))
    assert len(layers) == 1
    assert (layers[0] / "file").read_text() == "second"


def test_an_unknown_snapshot_is_named_with_the_known_ones(machine: Unplugged) -> None:
    machine.snapshot("one")
    with pytest.raises(SystemExit, match=r"no snapshot 'two'; there are: one"):
        machine.restore("two")


@pytest.mark.parametrize("hour", range(24))
def test_it_is_midday_at_whatever_hour_a_machine_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hour: int
) -> None:
    now = datetime(2026, 11, 22, hour, 30, tzinfo=UTC)
    monkeypatch.setattr(time, "gmtime", lambda: now.timetuple())
    (tmp_path / "etc").mkdir()
    for _ in range(2):  # a second start, and its own link is there
        midday(tmp_path)
    zone = (tmp_path / "etc/localtime").readlink().relative_to("/usr/share/zoneinfo")
    assert now.astimezone(ZoneInfo(str(zone))).hour == 12

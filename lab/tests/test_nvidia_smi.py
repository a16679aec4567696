"""The simulated nvidia-smi against transcripts of a real one (tests/unit/fixtures/nvidia-smi)."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.hardware.gpusim import control, nvidia_smi, state
from tests.unit.paths import FIXTURES

TRANSCRIPTS = FIXTURES / "nvidia-smi"
ASKED = re.compile(r"^\$ (nvidia-smi.*?)\n(.*?)=> (\d+)$", re.MULTILINE | re.DOTALL)
CARD = state.Gpu(
    bus="00:06.0",
    uuid="GPU-c38a1b2a-3a87-e7fb-5f19-5fcccd9ead06",
    name="NVIDIA H200",
    memory_mib=143771,
    reserved_mib=616,
    pci_device="",
    pci_subsystem="",
    pci_audio="",
    power_default_w=700,
    power_min_w=200,
    power_max_w=700,
    data_center=True,
)
# The driver rounds free memory up as it does used and reserved memory, so that they are more than the total.
ROUNDED_MIB = 2


class Asked(NamedTuple):
    """A command, what it printed, and its exit status."""

    command: str
    output: str
    status: int


def transcript(name: str) -> list[Asked]:
    found = ASKED.findall((TRANSCRIPTS / f"{name}.txt").read_text())
    return [Asked(command, output, int(status)) for command, output, status in found]


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card of the transcripts, with nothing on it."""
    monkeypatch.setenv("GPU_SIM_STATE", str(tmp_path))
    monkeypatch.setattr(state, "_started", lambda pid: "")  # the programs are none of this machine
    (tmp_path / "driver").touch()
    state.save(state.Machine("580.159.04", "13.0", [CARD]))
    with state.runtime() as known:
        known.persistent.append(CARD.uuid)


@pytest.fixture
def programs(card: None) -> None:
    """The two programs of busy.txt, and what the driver itself takes for them."""
    for pid, process in ((593, "./python3"), (592, "/tmp/a, b")):  # noqa: S108 - a name
        assert state.allocate(CARD.uuid, 1542, process, pid)
    assert control.main(["fill", "0", "15"]) == 0


def masked(command: str, output: str) -> tuple[str, list[int]]:
    """The output without time, temperature and power draw, and the free memory that it reports."""
    fields = re.findall(r"[a-z_.]+", command.partition("--query-gpu=")[2].partition(" ")[0])
    free, lines = [], []
    for line in output.splitlines(keepends=True):
        cells = line.split(", ")
        if len(cells) == len(fields):
            for place, field in enumerate(fields):
                number = re.match(r"\d+", cells[place])
                if number and field in ("temperature.gpu", "memory.free"):
                    cells[place] = cells[place].replace(number[0], field)
                    free += [int(number[0])] if field == "memory.free" else []
        lines.append(", ".join(cells))
    text = re.sub(r"^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} ", "TIME ", "".join(lines))
    return re.sub(r" \d\dC    (P\d)[ \d]{15}W /", r" TEMPERATURE \1 POWER /", text), free


def replay(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert nvidia_smi.main(shlex.split(asked.command)[1:]) == asked.status
    text, free = masked(asked.command, capsys.readouterr().out)
    real_text, real_free = masked(asked.command, asked.output)
    assert text == real_text
    assert free == pytest.approx(real_free, abs=ROUNDED_MIB)


@pytest.mark.parametrize("asked", transcript("idle"), ids=lambda asked: asked.command)
@pytest.mark.usefixtures("card")
def test_idle(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    replay(asked, capsys)


@pytest.mark.parametrize("asked", transcript("busy"), ids=lambda asked: asked.command)
@pytest.mark.usefixtures("programs")
def test_busy(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    replay(asked, capsys)


@pytest.mark.parametrize("name", ["idle", "busy"])
def test_no_command_of_a_transcript_is_passed_over(name: str) -> None:
    commands = re.findall(r"^\$ (.*)$", (TRANSCRIPTS / f"{name}.txt").read_text(), re.MULTILINE)
    assert [asked.command for asked in transcript(name)] == commands

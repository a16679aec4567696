"""Power limits: the operation, the script of the host, and the steps of the phase."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyinfra.api.exceptions import OperationError, OperationValueError

from facts.gpu import Gpus, GpuState
from operations import gpu
from tests.unit.bench import Bench
from tests.unit.hosts import commands
from tests.unit.machines import UUIDS, cards

LIGHT = UUIDS["GPU-85c38fae"]
HEAVY = UUIDS["GPU-bdb1f5e4"]


def limited(state: GpuState, limits: dict[str, int]) -> list[str]:
    return [command.get_raw_value() for command in commands(gpu.power_limits, {Gpus: state}, limits=limits)]


@pytest.mark.parametrize(
    ("limits", "desired"),
    [
        ({}, []),
        ({LIGHT: 220}, []),
        ({"GPU-85c38fae": 220, "GPU-bdb1f5e4": 220}, []),
        ({"GPU-85c38fae": 180}, [f"nvidia-smi -i {LIGHT} -pl 180"]),
        ({"GPU-85c38fae": 220, HEAVY: 280}, [f"nvidia-smi -i {HEAVY} -pl 280"]),
    ],
)
def test_only_other_limits_are_set(limits: dict[str, int], desired: list[str]) -> None:
    assert limited(cards(), limits) == desired


def test_a_card_that_does_not_tell_its_limit_is_set() -> None:
    assert limited(cards(power_limit_w=None), {LIGHT: 180}) == [f"nvidia-smi -i {LIGHT} -pl 180"]


def test_before_there_is_a_driver_nothing_is_asked_of_it() -> None:
    assert limited(GpuState(), {LIGHT: 180}) == []


@pytest.mark.parametrize(
    ("state", "uuid", "found"),
    [
        (replace(cards(), gpus=()), LIGHT, "found no card"),
        (GpuState(installed=True, error="NVIDIA-SMI has failed"), LIGHT, "found NVIDIA-SMI has failed"),
        (cards(), "GPU-", f"found {LIGHT}, {HEAVY}"),
    ],
)
def test_a_uuid_is_that_of_one_card(state: GpuState, uuid: str, found: str) -> None:
    with pytest.raises(OperationError, match=f"power limit of {uuid}: {found}.* expected exactly one card"):
        limited(state, {uuid: 180})


def test_a_limit_is_a_number_of_watts() -> None:
    with pytest.raises(OperationValueError, match="power limit of 0 W"):
        limited(cards(), {LIGHT: 0})


# --- the script


@pytest.fixture
def rig(bench: Bench) -> Bench:
    """Cards a, b and c with a limit of their own of 220 W."""
    bench.program(
        "nvidia-smi",
        'log "$@"\n'
        "case $* in\n"
        "-L) printf 'GPU 0: x (UUID: %s)\\n' a b c ;;\n"
        "*gone*) exit 6 ;;\n"
        "*query*) echo 220.00 ;;\n"
        "esac",
    )
    return bench


def hold(rig: Bench, *limits: str) -> tuple[int, list[str]]:
    """Status, and what nvidia-smi was asked to set."""
    file = rig.folder / "limits"
    file.write_text("".join(f"{line}\n" for line in limits))
    rig.log.write_text("")
    done = rig.run(
        "gpu/gpu-power-limits.sh",
        *([file] if limits else []),
        GPU_POWER_LIMITS_RECORD=str(rig.folder / "record"),
        GPU_POWER_LIMITS_PATIENCE="0",
    )
    return done.returncode, sorted(call for call in rig.calls if "-pl" in call)


def test_limits_are_set(rig: Bench) -> None:
    assert hold(rig, "a 180", "b 280") == (0, ["-i a -pl 180", "-i b -pl 280"])


def test_what_is_no_longer_limited_gets_its_own_back(rig: Bench) -> None:
    hold(rig, "a 180", "b 280")
    assert hold(rig, "b 270") == (0, ["-i a -pl 220.00", "-i b -pl 270"])
    assert hold(rig, "b 270") == (0, ["-i b -pl 270"])
    assert hold(rig) == (0, ["-i b -pl 220.00"])
    assert hold(rig) == (0, [])


def test_a_missing_card_does_not_keep_the_others_from_theirs(rig: Bench) -> None:
    assert hold(rig, "gone 180", "b 280") == (1, ["-i b -pl 280"])


def test_a_card_that_went_away_with_its_limit_is_no_failure(rig: Bench) -> None:
    (rig.folder / "record").write_text("gone\na\n")
    assert hold(rig) == (0, ["-i a -pl 220.00"])


def test_a_limit_that_could_not_be_taken_back_is_tried_again(rig: Bench) -> None:
    hold(rig, "a 180")
    smi = rig.programs / "nvidia-smi"
    well = smi.read_text()
    smi.write_text(well.replace("-L)", "*-pl*) exit 4 ;;\n-L)"))
    assert hold(rig)[0] == 1
    smi.write_text(well)
    assert hold(rig) == (0, ["-i a -pl 220.00"])
    assert hold(rig) == (0, [])


def test_no_card_is_forgotten_by_a_run_that_was_killed(rig: Bench) -> None:
    hold(rig, "a 180", "b 280")
    smi = rig.programs / "nvidia-smi"
    well = smi.read_text()
    smi.write_text(well.replace("-L)", '*-pl*) kill -KILL "$PPID" ;;\n-L)'))
    assert hold(rig, "a 170", "b 270")[0] != 0
    smi.write_text(well)
    assert hold(rig) == (0, ["-i a -pl 220.00", "-i b -pl 220.00"])

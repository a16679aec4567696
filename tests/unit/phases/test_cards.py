"""Full UUIDs for operations, from the driver at the moment they run."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation

from facts.gpu import Gpus, GpuState
from phases.cards import full_uuids, old_driver, with_cards
from specs.problems import Problem
from tests.unit.declared import declared
from tests.unit.hosts import commands, scripted_host
from tests.unit.machines import UUIDS, cards


@operation()
def output(uuids: Mapping[str, str], word: str) -> Generator[StringCommand, None, None]:
    yield StringCommand(word, *uuids.values())


def echo(uuids: Mapping[str, str]) -> Iterable[StringCommand]:
    return output._inner(uuids=uuids, word="echo")


def test_each_declared_card_by_its_full_uuid() -> None:
    assert full_uuids(declared(), cards()) == UUIDS


def test_the_order_of_the_driver_does_not_matter() -> None:
    shuffled = GpuState(installed=True, gpus=tuple(reversed(cards().gpus)))
    assert full_uuids(declared(), shuffled) == UUIDS


def test_before_there_is_a_driver_the_declared_ones_stand_in() -> None:
    assert full_uuids(declared(), GpuState()) == {uuid: uuid for uuid in UUIDS}


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (GpuState(installed=True, error="NVIDIA-SMI has failed"), "3 problems, nothing was changed:"),
        (
            replace(cards(), gpus=cards().gpus[1:]),
            "group_data/gpu.py: gpus.GPU-85c38fae is not in the machine, but must be a card that the driver lists",
        ),
        (
            replace(cards(), gpus=(*cards().gpus, replace(cards().gpus[0], uuid="GPU-85c38fae-0"))),
            "gpus.GPU-85c38fae is the prefix of GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e and GPU-85c38fae-0",
        ),
        (cards(bus="02:00.0"), "gpus.GPU-85c38fae.bus is 01:00.0, but must be 02:00.0"),
        (cards(name="NVIDIA GeForce RTX 3080"), "gpus.GPU-85c38fae.model is RTX 3070"),
        (cards(memory_total_mib=None), "a card that the driver lists and cannot ask"),
    ],
)
def test_wrong_cards_stop_the_run(state: GpuState, sentence: str) -> None:
    with pytest.raises(OperationError) as error:
        full_uuids(declared(), state)
    assert sentence in str(error.value)


def test_an_operation_gets_them_when_it_runs() -> None:
    (command,) = commands(with_cards, {Gpus: cards()}, blueprint=declared(), step=echo)
    assert command.get_raw_value() == f"echo {' '.join(UUIDS.values())}"
    (prepared,) = commands(with_cards, {Gpus: GpuState()}, blueprint=declared(), step=echo)
    assert prepared.get_raw_value() == f"echo {' '.join(UUIDS)}"


@pytest.mark.parametrize(("state", "questions"), [(cards(), 1), (GpuState(), 2)], ids=["driver", "no driver"])
def test_a_driver_that_is_there_is_asked_once_a_run(state: GpuState, questions: int) -> None:
    with scripted_host({Gpus: state}) as host:
        for _ in range(2):
            assert list(with_cards._inner(blueprint=declared(), step=echo))
            host.changed()
    assert len(host.asked) == questions


@pytest.mark.parametrize(
    ("drivers", "found"),
    [
        (["550.163.01", "550.163.01"], []),
        (["1550.1", None], []),
        (["535.247.01", "535.247.01"], ["535.247.01"]),
        (["470.1", "535.1"], ["470.1", "535.1"]),
    ],
)
def test_an_old_driver_is_named_once(drivers: list[str | None], found: list[str]) -> None:
    gpus = tuple(replace(cards().gpus[index], driver=driver) for index, driver in enumerate(drivers))
    problems = list(old_driver(declared(), GpuState(installed=True, gpus=gpus), "reboot"))
    assert problems == [Problem("NVIDIA driver", one, "550 or newer", "reboot") for one in found]

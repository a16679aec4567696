"""Memory for containers that are about to come: the fact, and what its check finds."""

from __future__ import annotations

import subprocess

import pytest

from facts.memory import Memory, MemoryState
from operations import memory
from tests.unit.hosts import commands, scripted_host

ANSWER = ["@@available", "MemAvailable:    2411724 kB", "@@running", "voicejury-api"]


def test_the_answer_of_a_host() -> None:
    assert Memory().process(ANSWER) == MemoryState(2355, frozenset({"voicejury-api"}))
    assert Memory().process(["@@available", "@@running"]) == MemoryState(None, frozenset())
    assert Memory.default() == MemoryState()


def test_this_machine_has_some() -> None:
    command = Memory().command(["none-of-that-name"]).get_raw_value()
    output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    state = Memory().process(output.splitlines())
    assert state.available_mib is not None
    assert state.available_mib > 16
    assert state.running == frozenset()


def found(state: MemoryState) -> str:
    with scripted_host({Memory: state}) as host:
        steps = list(memory.available._inner(1843, ["api", "worker"], "stop something"))
        return steps[0].args[0] if steps else host.noops[0]


def test_too_little_is_reported() -> None:
    output = found(MemoryState(1842))
    assert "memory for api, worker" in output
    assert "1842 MiB available" in output
    assert "stop something" in output


@pytest.mark.parametrize(
    "state",
    [
        MemoryState(1843),
        MemoryState(None),
        MemoryState(10, frozenset({"api", "worker", "another"})),
    ],
)
def test_enough_unknown_or_taken_already(state: MemoryState) -> None:
    assert found(state) == "as it should be"


def test_one_that_runs_is_not_all_of_them() -> None:
    assert "10 MiB available" in found(MemoryState(10, frozenset({"api"})))


def test_nothing_is_asked_while_a_run_is_prepared() -> None:
    with scripted_host({}, executing=False):
        assert list(memory.available._inner(1, ["api"], "")) == []
    assert commands(memory.available, {Memory: MemoryState(2)}, 1, ["api"], "") == []

"""A deploy whose pyinfra is killed again and again: the next run carries on, and the one after it changes nothing."""

from __future__ import annotations

import pytest

from lab.machine import Machine
from tests.host.conftest import all_warm, await_true, kill_after, pyinfra_command, run_pyinfra

# The words of a run after which it is killed, in their order: some packages half unpacked, the engine not yet set up,
# environment files written but no instance started, a model on its way.
MOMENTS = (
    ("Packages of the base system", "Unpacking cron"),
    ("Docker engine and Compose", "Setting up docker.io"),
    ("Units and environment of the instances", "heavy.env: written"),
    ("Ollama | Models", "pulling through"),
)


@pytest.mark.parametrize(("operation", "words"), MOMENTS, ids=[words for _, words in MOMENTS])
def test_a_run_is_killed(bare: Machine, operation: str, words: str) -> None:
    kill_after(pyinfra_command(), operation, words)
    if words.startswith("Unpacking"):  # and the host loses its power, with dpkg in the middle of it
        bare.stop(hard=True)
        bare.start()


def test_the_next_run_completes_it(bare: Machine) -> None:
    done = run_pyinfra()
    assert done.rc == 0, done.output
    await_true(lambda: all_warm(bare), 300, "warm instance")
    assert bare.run("systemctl --failed --plain --no-legend").stdout == ""


def test_the_run_after_that_changes_nothing(bare: Machine) -> None:
    again = run_pyinfra()
    assert again.changed == []


def test_nothing_half_done_is_left(bare: Machine) -> None:
    assert bare.run("dpkg --audit; find / -xdev -name '.pyinfra-tree.*'").stdout == ""

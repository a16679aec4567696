"""What a run requires: the phases that its phases depend on."""

from __future__ import annotations

import pytest

from phases import PHASES
from phases.requirements import missing_phases

NAMES = [phase.name for phase in PHASES]


def test_every_phase_comes_after_what_it_depends_on() -> None:
    for position, phase in enumerate(PHASES):
        assert set(phase.depends_on) <= set(NAMES[:position]), phase.name
        assert phase.summary, f"{phase.name}: nobody who misses it would know what it is"


def test_all_phases_on_a_fresh_machine_lack_nothing() -> None:
    assert list(missing_phases(PHASES, NAMES, [])) == []


@pytest.mark.parametrize("name", [phase.name for phase in PHASES if phase.depends_on])
def test_a_phase_alone_on_a_fresh_machine_lacks_what_it_depends_on(name: str) -> None:
    (problem,) = missing_phases(PHASES, [name], [])
    (phase,) = (phase for phase in PHASES if phase.name == name)
    assert all(f"no {other} (" in problem.found for other in phase.depends_on)
    together = problem.remedy.removeprefix("--data phase=").split(",")
    assert list(missing_phases(PHASES, together, [])) == []
    assert list(missing_phases(PHASES, [name], together[:-1])) == []

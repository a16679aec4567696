"""The health of stacks: what is waited for, and what a run ends with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from facts.stacks import Stacks, StacksState
from operations import stacks
from operations.checks import ASKED_AGAIN_S
from operations.stacks import SETTLED_S
from tests.unit.hosts import InTurn, scripted_host
from tests.unit.stacks import OUTLINE, ROOT, UNREAD, as_declared, front, scripts, with_container


@pytest.mark.parametrize("health", ["unhealthy", "starting"])
def test_a_container_that_comes_to_its_health_by_itself_is_no_change(health: str) -> None:
    stack = front()
    well = as_declared(stack)
    unwell = with_container(well, "web", health=health)
    with scripted_host({**UNREAD, Stacks: InTurn([unwell, unwell, well])}) as host:
        assert list(stacks.up._inner(root=ROOT, stacks=[stack])) == []
    assert host.noops == ["front: as declared"]
    assert host.logged == [f"waiting for web, which is {health}"]


def test_a_container_that_stays_unhealthy_is_started_and_the_reason_reported(waited: list[float]) -> None:
    stack = front()
    assert scripts(stack, with_container(as_declared(stack), "web", health="unhealthy")) == ["stacks/up.sh"]
    assert SETTLED_S <= sum(waited) < SETTLED_S + ASKED_AGAIN_S
    waited.clear()
    unwell = with_container(as_declared(stack), "web", health="unhealthy")
    scripts(stack, unwell, timeout_s=8)
    assert 8 <= sum(waited) < 8 + ASKED_AGAIN_S


@pytest.mark.parametrize("late", [{"status": "exited"}, {"digest": "another"}])
def test_nobody_waits_for_the_health_of_one_while_there_is_something_to_do(
    late: dict[str, str], waited: list[float]
) -> None:
    stack = front()
    unwell = with_container(as_declared(stack), "web", health="unhealthy")
    assert scripts(stack, with_container(unwell, "late", **late))
    assert waited == []


def settled(*answers: StacksState) -> list[str]:
    """What the check reports where the host gives these answers, one after the other."""
    outline = replace(OUTLINE, stateful=frozenset({"web"}))
    with scripted_host({**UNREAD, Stacks: InTurn(answers)}):
        return [step.args[0] for step in stacks.settled._inner(ROOT, [outline])]


def test_a_run_ends_when_everything_was_found_healthy_on_what_it_depends_on(waited: list[float]) -> None:
    found = as_declared(front())  # both were started at 200
    before = with_container(with_container(found, "web", checked=201.0), "late", checked=199.0)
    after = with_container(before, "late", checked=210.0)
    assert settled(after) == []
    assert waited == []
    assert settled(before, with_container(after, "late", failing=1), after) == []
    assert waited == [ASKED_AGAIN_S] * 2
    (text,) = settled(before)
    assert "container late" in text
    assert "container web" not in text
    assert "before the data that it may use was there again" in text


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ({"health": "unhealthy", "failing": 3}, "unhealthy"),
        ({"health": "starting"}, "starting"),
        ({"failing": 2}, "its last 2 health checks"),
        ({"status": "restarting"}, "restarting"),
    ],
)
def test_what_has_not_settled_is_named_with_its_state(changes: dict[str, Any], output: str) -> None:
    found = as_declared(front())
    for name in found.containers:
        found = with_container(found, name, checked=300.0)
    (text,) = settled(with_container(found, "late", **changes))
    assert output in text
    assert settled(with_container(found, "late", status="exited", health="unhealthy")) == []
    assert settled(with_container(found, "late", project="another", health="unhealthy")) == []

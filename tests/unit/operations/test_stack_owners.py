"""Containers that are not a stack's: those of others, and those that nothing declares any more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError

from facts.files import FileState, TreeState
from facts.stacks import Container, Stacks, StacksState
from operations import stacks
from operations.stack_difference import RELOADED, Undeclared, difference, managed, undeclared
from tests.unit.hosts import commands
from tests.unit.stacks import (
    FOLDER,
    OUTLINE,
    ROOT,
    UNREAD,
    as_declared,
    definition,
    front,
    scripts,
    with_container,
)

# --- what is somebody else's


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ({"project": "", "service": ""}, "of no Compose project"),
        ({"project": "old"}, "of the Compose project old"),
        ({"project": "x1y2", "managed": True}, "managed by Coolify"),
        ({"service": "db"}, "of the Compose project front"),
    ],
)
def test_another_container_of_that_name_stops_the_run(changes: dict[str, Any], output: str) -> None:
    with pytest.raises(OperationError, match=output):
        difference(front(), with_container(as_declared(front()), "web", **changes))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"name": "web"}, "of the Compose project x1y2, managed by Coolify"),
        (
            {"name": "web-x1y2", "aliases": {"web-x1y2", "web", "front"}},
            "managed by Coolify, which answers to web",
        ),
    ],
)
def test_what_coolify_manages_under_one_of_our_names_is_named(fields: dict[str, Any], found: str) -> None:
    theirs = Container(
        project="x1y2", managed=True, **fields | {"aliases": frozenset(fields.get("aliases", ()))}
    )
    state = StacksState(containers={theirs.name: theirs})
    (problem,) = managed([OUTLINE], state, "see the guide")
    assert (problem.what, problem.remedy) == (f"container {theirs.name}", "see the guide")
    assert problem.found.endswith(found)
    ours = replace(theirs, managed=False)
    assert not list(managed([OUTLINE], StacksState(containers={ours.name: ours}), ""))
    other = replace(theirs, name="coolify-db", aliases=frozenset({"coolify-db"}))
    assert not list(managed([OUTLINE], StacksState(containers={other.name: other}), ""))


def test_a_port_that_another_container_publishes_stops_the_run() -> None:
    services = {"web": definition("web", ports=["127.0.0.1:18000:80", "443:443/udp"])}
    stack = front(project={"services": services})
    state = as_declared(stack)

    def beside(**fields: Any) -> StacksState:
        return replace(state, containers={**state.containers, "other": Container(name="other", **fields)})

    for port in ("18000/tcp", "443/udp"):
        with pytest.raises(OperationError, match=f"{port} of the host published by container other"):
            difference(stack, beside(published=frozenset({port})))
    assert not difference(stack, beside(published=frozenset({"443/tcp", "80/tcp"})))
    assert not difference(stack, beside(published=frozenset({"18000/tcp"}), status="exited"))


def test_a_stack_makes_way_for_the_container_that_does_its_work() -> None:
    other = Container(name="coolify-proxy", project="coolify-proxy")
    state = StacksState(containers={other.name: other})
    assert scripts(front(), state, skip_if_running="coolify-proxy") == []
    stopped = StacksState(containers={other.name: replace(other, status="exited")})
    assert scripts(front(), stopped, skip_if_running="coolify-proxy")
    assert scripts(front(), as_declared(front(text="y")), skip_if_running="web")  # our own is no reason


# --- what is no longer declared


def test_what_is_no_longer_declared_is_reported_and_not_touched() -> None:
    state = as_declared(front())
    old = Container(name="old", project="back", folder=f"{ROOT}/back")
    orphan = Container(name="orphan", project="front", folder=FOLDER)
    foreign = Container(name="foreign", project="theirs", folder="/srv/theirs")
    folder = FileState("directory", 0o700, ("root", "0"), ("root", "0"))
    file = FileState("file", 0o600, ("root", "0"), ("root", "0"))
    tree = {
        **state.tree.entries,
        f"{ROOT}/gone": folder,
        f"{ROOT}/gone/x.env": file,
        f"{FOLDER}/orphan.env": file,
        f"{FOLDER}/{RELOADED}/web": file,
    }
    containers = {c.name: c for c in (*state.containers.values(), old, orphan, foreign)}
    left = undeclared(ROOT, [OUTLINE], replace(state, tree=TreeState(tree), containers=containers))
    assert left == Undeclared(("back", "gone"), ("orphan",), (f"{FOLDER}/orphan.env",))
    assert undeclared(ROOT, [OUTLINE], state) == Undeclared()
    assert commands(stacks.report_undeclared, {**UNREAD, Stacks: state}, root=ROOT, declared=[OUTLINE]) == []


def test_only_what_is_asked_for_and_there_is_removed() -> None:
    state = as_declared(front())
    foreign = Container(name="foreign", project="theirs", folder="/srv/theirs")
    state = replace(state, containers={**state.containers, "foreign": foreign})

    def removed(*names: str) -> list[str]:
        return [
            str(step) for step in commands(stacks.removed, {**UNREAD, Stacks: state}, root=ROOT, names=names)
        ]

    assert removed("back", "foreign") == []
    (step,) = removed("front", "back", "late")
    assert step.endswith(f"stacks/remove.sh {ROOT} '' front late")
    for name in ("../x", "-f", "a b", ""):
        with pytest.raises(ValueError):
            removed(name)

"""Stacks: what follows from a difference between what is declared and the host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError

from facts.backups import Backups
from facts.stacks import Image, Stacks, StacksState
from operations import stacks
from operations.backup import Saving
from operations.stack_difference import RELOADED, difference
from specs.stacks import Build, ComposeStack, Limits
from tests.unit.hosts import commands, scripted_host
from tests.unit.stacks import (
    FOLDER,
    IMAGE,
    ROOT,
    UNREAD,
    as_declared,
    definition,
    front,
    scripts,
    with_container,
)

# --- differences


def test_what_is_as_declared_is_left_alone() -> None:
    assert not difference(front(), as_declared(front()))
    with scripted_host({**UNREAD, Stacks: as_declared(front())}) as host:
        assert list(stacks.up._inner(root=ROOT, stacks=[front()])) == []
    assert host.noops == ["front: as declared"]
    assert len(host.asked) == 1


def test_on_a_bare_host_everything_is_done_in_order() -> None:
    step = difference(front(), StacksState())
    assert step.pulls == (IMAGE,)
    assert step.levels() == [["web"], ["late"]]
    steps = commands(stacks.up, {**UNREAD, Stacks: StacksState()}, root=ROOT, stacks=[front()])
    assert [step.script for step in steps] == ["docker/pull.sh", "host/apply-tree.sh", "stacks/up.sh"]
    assert steps[-1].payload == "=web\n=late\n"
    assert "canary" not in "".join(map(str, steps))


def test_a_changed_file_changes_its_container_only() -> None:
    state = as_declared(front())
    step = difference(front(text="y"), state)
    assert [(start.container, start.recreates) for start in step.starts] == [("web", True)]
    assert set(step.files) == {f"{FOLDER}/compose.yaml", f"{FOLDER}/web/web.conf"}
    assert scripts(front(text="y"), state) == ["host/apply-tree.sh", "stacks/up.sh"]


def test_the_container_that_a_dead_run_did_not_make_is_made() -> None:
    state = as_declared(front(text="y"))
    old = with_container(state, "web", digest=front().digest("web"))
    (up,) = commands(stacks.up, {**UNREAD, Stacks: old}, root=ROOT, stacks=[front(text="y")])
    assert (up.script, up.payload) == ("stacks/up.sh", "web\n")


@pytest.mark.parametrize(
    ("changes", "reason", "recreates"),
    [
        ({"digest": "other"}, "was made from another declaration", True),
        ({"image_id": "sha256:2"}, f"was made from another {IMAGE}", True),
        ({"status": "exited"}, "is exited", False),
        ({"status": "restarting"}, "is restarting", False),
        ({"health": "unhealthy"}, "is unhealthy", False),
        ({"health": "starting"}, "is starting", False),
        ({"health": None}, "is without a health check", False),
    ],
)
def test_what_is_not_as_it_should_be_is_started(
    changes: dict[str, Any], reason: str, recreates: bool
) -> None:
    (start,) = difference(front(), with_container(as_declared(front()), "web", **changes)).starts
    assert (start.container, start.reason, start.recreates) == ("web", reason, recreates)


LIMITED = {
    "mem_limit": "512m",
    "memswap_limit": "1g",
    "cpus": 1.5,
    "pids_limit": 64,
    "restart": "unless-stopped",
}
AS_LIMITED = Limits(512 * 1024**2, 1024**3, 1.5, 64, "unless-stopped")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        # The kernel of the host cannot limit swap and processors.
        ({"memory_swap": -1, "cpus": 0}, None),
        ({"memory": 1024**3}, "memory 1073741824 instead of 536870912"),
        ({"restart": "no"}, "restart no instead of unless-stopped"),
    ],
)
def test_what_docker_update_changed_is_undone(changes: dict[str, Any], reason: str | None) -> None:
    stack = front()
    services = {**stack.services, "web": {**stack.services["web"], **LIMITED}}
    stack = replace(stack, project={**stack.project, "services": services})
    state = with_container(as_declared(stack), "web", limits=replace(AS_LIMITED, **changes))
    starts = [(start.container, start.reason, start.recreates) for start in difference(stack, state).starts]
    assert starts == ([("web", f"was updated by hand: {reason}", True)] if reason else [])


def test_an_image_without_its_tag_is_pulled_when_it_is_needed_only() -> None:
    state = replace(as_declared(front()), images={})
    assert not difference(front(), state)
    assert difference(front(), with_container(state, "web", digest="")).pulls == (IMAGE,)


def test_an_image_is_built_when_its_folder_is_another(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x:1\n")
    build = Build(tmp_path, {"MAJOR": "16"})
    stack = front(builds={IMAGE: build})
    state = replace(as_declared(stack), images={IMAGE: Image("sha256:1", build.digest)})
    assert not difference(stack, state)
    stale = replace(state, images={IMAGE: Image("sha256:1", "other")})
    step = difference(stack, stale)
    assert step.builds == (IMAGE,)
    assert [start.recreates for start in step.starts] == [True, True]
    missing = difference(stack, replace(state, images={}, containers={}))
    assert (missing.builds, missing.pulls) == ((IMAGE,), ())
    (made, up) = commands(stacks.up, {**UNREAD, Stacks: stale}, root=ROOT, stacks=[stack])
    assert str(made).endswith(f"stacks/build.sh {IMAGE} stack.build={build.digest} MAJOR=16")
    assert up.script == "stacks/up.sh"


def test_what_others_left_half_done_is_theirs() -> None:
    state = as_declared(front())
    left = replace(state, tree=replace(state.tree, abandoned=(f"{ROOT}/back/.pyinfra-tree.x",)))
    assert not difference(front(), left)
    ours = replace(state, tree=replace(state.tree, abandoned=(f"{FOLDER}/.pyinfra-tree.x",)))
    assert scripts(front(), ours) == ["host/apply-tree.sh"]


def test_a_stack_lies_in_the_root() -> None:
    with pytest.raises(ValueError, match="is not in /srv"):
        commands(stacks.up, {**UNREAD, Stacks: StacksState()}, root="/srv", stacks=[front()])


# --- reloads


FOLDER_MOUNT = {"type": "bind", "source": f"{FOLDER}/web", "target": "/etc/web"}


def reloading(text: str = "x") -> ComposeStack:
    services = {**front().project["services"], "web": definition("web", volumes=[FOLDER_MOUNT])}
    return front(text=text, project={"services": services}, reload={"web": ["kill", "-HUP", "1"]})


def test_a_container_that_reads_its_files_again_is_reloaded() -> None:
    state = as_declared(reloading())
    assert not difference(reloading(), state)
    apply, reload = commands(stacks.up, {**UNREAD, Stacks: state}, root=ROOT, stacks=[reloading("y")])
    assert (apply.script, reload.script) == ("host/apply-tree.sh", "stacks/reload.sh")
    assert str(reload).endswith(f"stacks/reload.sh {FOLDER}/{RELOADED} web kill -HUP 1")


@pytest.mark.parametrize(
    ("changed", "started", "noted", "reloaded"),
    [(100, 200, None, False), (300, 200, None, True), (300, 200, 400, False), (500, 200, 400, True)],
)
def test_the_reload_that_a_dead_run_owed_is_made(
    changed: float, started: float, noted: float | None, reloaded: bool
) -> None:
    state = with_container(as_declared(reloading()), "web", started=started)
    times = {**state.changed, f"{FOLDER}/web/web.conf": changed}
    if noted is not None:
        times[f"{FOLDER}/{RELOADED}/web"] = noted
    assert difference(reloading(), replace(state, changed=times)).reloads == (("web",) if reloaded else ())


def test_a_container_that_is_made_anew_needs_no_reload() -> None:
    state = with_container(as_declared(reloading()), "web", digest="")
    assert difference(reloading("y"), state).reloads == ()


# --- containers with data


def test_data_is_saved_before_its_container_is_made_anew() -> None:
    stack = front(text="y", stateful=frozenset({"web"}))
    state = as_declared(front())
    with pytest.raises(OperationError, match="only after its backup"):
        scripts(stack, state)
    saving = Saving("/opt/scripts/backup.sh", "/opt/backups", {"web": ["volume/web"]})
    with pytest.raises(OperationError, match=r"web: .* only after its backup"):
        scripts(stack, state, before_recreate=replace(saving, pieces={"late": ["volume/late"]}))
    save, read_back, apply, up = commands(
        stacks.up,
        {**UNREAD, Stacks: state, Backups: {}},
        root=ROOT,
        stacks=[stack],
        before_recreate=saving,
    )
    assert str(save).endswith("backup/save-first.sh /opt/scripts/backup.sh volume/web")
    assert read_back.args == (["volume/web"], "/opt/backups", {})
    assert (apply.script, up.script) == ("host/apply-tree.sh", "stacks/up.sh")


def test_data_of_a_container_that_is_down_is_not_promised_to_be_saved() -> None:
    stack = front(text="y", stateful=frozenset({"web"}))
    saving = Saving("/opt/scripts/backup.sh", "/opt/backups", {"web": ["volume/web"]})
    for status in ("exited", "restarting"):
        state = with_container(as_declared(front()), "web", status=status)
        with pytest.raises(OperationError, match=r"not running.* docker rm --force web \(the volumes stay\)"):
            scripts(stack, state, before_recreate=saving)


def test_what_is_missing_or_stopped_needs_no_backup() -> None:
    stack = front(stateful=frozenset({"web"}))
    state = as_declared(stack)
    gone = replace(state, containers={"late": state.containers["late"]})
    assert scripts(stack, gone) == ["stacks/up.sh"]
    assert scripts(stack, with_container(state, "web", status="exited")) == ["stacks/up.sh"]
    assert scripts(front(text="y", stateful=frozenset({"late"})), as_declared(front())) == [
        "host/apply-tree.sh",
        "stacks/up.sh",
    ]

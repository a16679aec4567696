"""Compose projects ("stacks"): their files, their images and their containers, applied together."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.backups import Backups, BackupState
from facts.cache import cached_fact
from facts.files import Contents
from facts.stacks import BUILD, Container, Stacks, StacksState
from operations import backup, files, script
from operations.backup import Saving
from operations.checks import check, poll, polling
from operations.notices import notice
from operations.stack_difference import (
    RELOADED,
    REMADE,
    Difference,
    below,
    changed_declaration,
    difference,
    undeclared,
    without_adopted,
)
from specs.problems import Problem
from specs.stacks import COMPOSE_FILE, NAME, ComposeStack, Outline

# A container that runs may come to its health by itself: on a busy machine a health check comes late, and what stood
# on a server that was restarted connects again. Docker asks every 30 s, and a slow answer may take as long.
SETTLED_S = 150


@operation()
def up(
    root: str,
    stacks: Sequence[ComposeStack],
    timeout_s: int = 300,
    before_recreate: Saving | None = None,
    skip_if_running: str | None = None,
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Apply declared stacks: one question for all of them, and no command where nothing differs.

    Otherwise, in this order: `before_recreate`; images that are missing; all files, once Compose has accepted the new
    compose.yaml; networks that are missing; containers that are missing, stopped or made from anything else than what
    is declared, those that others depend on first, each level until it is healthy; reloads. Fails with a container's
    own last lines when it does not become healthy. The next run completes a killed one. Where nothing
    differs but the health of containers that run, they first get up to `SETTLED_S` to come to it by themselves, which
    is no change.

    Raises `OperationError`, before anything is changed, where another's container has the name or the port of a
    declared one, and where a container with data would be recreated without `before_recreate`, or while it is down.

    + root: folder that the folders of all stacks are in
    + stacks: the desired ones, in the order in which they are started
    + timeout_s: seconds within which a stack has to be healthy, pulls and builds not counted
    + before_recreate: how the data of stateful containers is saved; a backup that fails ends the run
    + skip_if_running: name of a container of another project in whose presence, running, nothing is done
    """
    for stack in stacks:
        if str(PurePosixPath(stack.folder).parent) != root:
            raise OperationValueError(f"stack {stack.name}: its folder {stack.folder} is not in {root}")

    actual = _actual_state(root, stacks)
    if skip_if_running and (other := _in_place(skip_if_running, stacks, actual)):
        host.noop(f"{other.name} of {other.project or 'somebody else'} does this")
        return

    def differing() -> tuple[StacksState, list[Difference]]:
        actual = _actual_state(root, stacks)
        return actual, [step for stack in stacks if (step := difference(stack, actual))]

    patience_s = min(SETTLED_S, timeout_s) if state.is_executing else 0
    actual, todo = poll(differing, lambda answer: _settling(answer[1]), patience_s)
    names = ", ".join(stack.name for stack in stacks)
    if not todo:
        host.noop(f"{names}: as declared")
        return
    _report_reasons(todo)
    if losing := [name for step in todo for name in step.loses_state]:
        yield from _saved(losing, before_recreate, actual)
    # Before the files: what runs keeps its own for as long as an image cannot be had.
    for step in todo:
        yield from _images(step)
    entries = list(dict.fromkeys(entry for step in todo for entry in step.stack.entries()))
    if command := files.apply(entries, below(entries, actual.tree)):
        yield command
    if networks := list(dict.fromkeys(name for step in todo for name in step.networks)):
        yield script.run("docker/networks.sh", *networks)
    for step in todo:
        yield from _containers(step, timeout_s)


def _actual_state(root: str, stacks: Iterable[ComposeStack]) -> StacksState:
    """The state of the host. In a dry run, ignore containers that an earlier step will rename."""
    actual: StacksState = cached_fact(Stacks, root=root)
    return actual if state.is_executing else without_adopted(stacks, actual)


def _settling(todo: Sequence[Difference]) -> list[str]:
    """Containers of which only the health differs; none where other steps are left, on which it may depend."""
    if not all(step.only_waits for step in todo):
        return []
    return [f"{start.container}, which {start.reason}" for step in todo for start in step.starts]


def unsettled(stacks: Iterable[Outline], actual: StacksState) -> Iterator[Problem]:
    """The problems of `settled`: containers that run and are not known to be healthy."""
    ours = [
        container
        for stack in stacks
        for name in sorted(stack.containers)
        if (container := actual.containers.get(name)) and container.project == stack.name
    ]
    data = {name for stack in stacks for name in stack.stateful}
    begun = max((one.started or 0.0 for one in ours if one.name in data), default=0.0)
    for container in ours:
        if container.status not in ("running", "restarting"):
            continue  # stopped by somebody, and brought up by the run that is for it
        if container.status == "restarting":
            problem = container.status
        elif container.health != "healthy":
            problem = container.health or "without a health check"
        elif container.failing:
            problem = f"healthy, but for its last {container.failing} health checks"
        elif (container.checked or 0.0) < begun:
            problem = "healthy when Docker last looked, before the data that it may use was there again"
        else:
            continue
        yield Problem(
            f"container {container.name}",
            problem,
            f"healthy within {SETTLED_S} s",
            f"docker inspect --format '{{{{json .State.Health.Log}}}}' {container.name}, and its docker logs",
        )


@check
@polling(SETTLED_S)
def settled(root: str, stacks: Sequence[Outline]) -> Iterator[Problem]:
    """Every running container is healthy, by a health check after the last start of the containers with data.

    So a run that changed a password, or restarted a server for it, ends with everything that uses it on the new one.

    + root: folder that the folders of all stacks are in
    + stacks: whose containers
    """
    yield from unsettled(stacks, cached_fact(Stacks, root=root))


def _in_place(name: str, stacks: Iterable[ComposeStack], actual: StacksState) -> Container | None:
    container = actual.containers.get(name)
    ours = {stack.name for stack in stacks}
    return (
        container if container and container.status == "running" and container.project not in ours else None
    )


def _report_reasons(todo: Sequence[Difference]) -> None:
    if not (state.is_executing or state.config.DIFF):
        return
    remade = [step for step in todo if any(start.reason == REMADE for start in step.starts)]
    paths = [f"{step.stack.folder}/{COMPOSE_FILE}" for step in remade]
    written = cached_fact(Contents, paths=paths) if paths else {}
    for step in todo:
        text = written.get(f"{step.stack.folder}/{COMPOSE_FILE}", b"").decode(errors="replace")
        for start in step.starts:
            what = f": {changed_declaration(step, start.container, text)}" if start.reason == REMADE else ""
            host.log(f"{start.container}: {start.reason}{what}")
        for name in step.reloads:
            host.log(f"{name}: its files changed since it read them")


def _saved(
    containers: Sequence[str], saving: Saving | None, actual: StacksState
) -> Iterator[StringCommand | FunctionCommand]:
    pieces = saving.pieces if saving else {}
    if saving is None or (homeless := [name for name in containers if not pieces.get(name)]):
        raise OperationError(
            f"{', '.join(containers if saving is None else homeless)}: found made from another declaration; what holds "
            "data is recreated only after its backup, and no backup is declared: save it, remove the container (its "
            "volumes stay), and run again"
        )
    if down := [name for name in containers if actual.containers[name].status != "running"]:
        names = " ".join(down)
        raise OperationError(
            f"{', '.join(down)}: found made from another declaration, and not running; what holds data is recreated "
            "only after its backup, which a running container is needed for: "
            f"docker start {names}, or if that is in vain docker rm --force {names} (the volumes stay), and run again"
        )
    required = [piece for name in containers for piece in pieces[name]]
    before: dict[str, BackupState] = host.get_fact(Backups, root=saving.root)
    yield from backup.save(required, saving.command, saving.root, before)


def _images(step: Difference) -> Iterator[StringCommand]:
    for reference in step.builds:
        build = step.stack.builds[reference]
        arguments = [f"{key}={value}" for key, value in sorted(build.args.items())]
        yield script.run(
            *("stacks/build.sh", reference, f"{BUILD}={build.digest}", *arguments),
            payload=build.archive(),
            stream=True,
        )
    if step.pulls:
        yield script.run("docker/pull.sh", *step.pulls, stream=True)


def _containers(step: Difference, timeout_s: int) -> Iterator[StringCommand]:
    stack = step.stack
    if step.starts:
        yield script.run(
            "stacks/up.sh", stack.folder, stack.name, timeout_s, payload=_levels_text(step), stream=True
        )
    for name in step.reloads:
        yield script.run(
            *("stacks/reload.sh", f"{stack.folder}/{RELOADED}", name, *stack.reload[name]), stream=True
        )


def _levels_text(step: Difference) -> str:
    """The levels as files/stacks/up.sh reads them."""
    recreated = {start.container for start in step.starts if start.recreates}
    lines = []
    for level in step.levels():
        lines.append(" ".join(name if name in recreated else f"={name}" for name in level))
    return "".join(f"{line}\n" for line in lines)


@notice
def report_undeclared(
    root: str, declared: Sequence[Outline], remedy: str = "they stay until they are removed by name"
) -> Iterable[str]:
    """Report stacks, containers and files of the host that are no longer declared. Nothing of them is removed.

    + root: folder that the folders of all stacks are in
    + declared: all stacks that are declared, whatever the run is for
    + remedy: what becomes of what is found, for the message
    """
    undeclared_names = undeclared(root, declared, cached_fact(Stacks, root=root))
    for kind in ("stacks", "containers", "files"):
        if names := getattr(undeclared_names, kind):
            yield f"{kind} that are not declared: {', '.join(names)}; {remedy}"


@operation()
def removed(
    root: str, names: Sequence[str], saved: str | None = None
) -> Generator[StringCommand, None, None]:
    """Remove stacks, or single containers, with their folders.

    Their volumes stay without `saved`. Then each volume that no other container has is archived while nothing
    runs on it, the archive is compared with it to the last byte, and only then it is removed.

    + root: folder that the folders of all stacks are in
    + names: projects, and names of containers that were started from below `root`
    + saved: folder for the archives, VOLUME/TIME.tar.zst
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise OperationValueError(f"{name!r} is not the name of a stack or a container")
    actual: StacksState = cached_fact(Stacks, root=root)
    existing = []
    for name in names:
        container = actual.containers.get(name)
        alone = container is not None and container.folder.startswith(f"{root}/")
        if actual.of_project(name) or f"{root}/{name}" in actual.tree.entries or alone:
            existing.append(name)
    if existing:
        yield script.run("stacks/remove.sh", root, saved or "", *existing, stream=True)
    else:
        host.noop("none of them is there")

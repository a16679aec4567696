"""The difference between the declared and the actual state of stacks, without a host to ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import yaml
from pyinfra.api.exceptions import OperationError, OperationValueError

from facts.files import TreeState
from facts.stacks import Container, StacksState, normalized_reference
from operations import files
from specs.files import Directory, Entry
from specs.problems import Problem
from specs.stacks import DIGEST, ComposeStack, Limits, Outline, literal

# Touched when a container has read its changed files again.
RELOADED = ".reloaded"
# Why a container is recreated whose label says so; `changed_declaration` says what has changed.
REMADE = "was made from another declaration"


@dataclass(frozen=True)
class Start:
    """A container to start, and the reason.

    :param recreates: that takes away the one that is there
    :param waits: it runs, so that nothing can be done but wait for its health
    """

    container: str
    reason: str
    recreates: bool = False
    waits: bool = False


@dataclass(frozen=True)
class Difference:
    """The steps for one stack, in this order; none where it is as declared.

    :param files: paths that differ
    :param networks: networks that have to be made
    :param builds: references of images that have to be built
    :param pulls: references of images that have to be pulled
    :param starts: containers to bring up
    :param reloads: containers that have to read their files again
    """

    stack: ComposeStack
    files: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    builds: tuple[str, ...] = ()
    pulls: tuple[str, ...] = ()
    starts: tuple[Start, ...] = ()
    reloads: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.networks or self.builds or self.pulls or self.starts or self.reloads)

    @property
    def only_waits(self) -> bool:
        """Whether waiting is all that is left to do."""
        return not (self.files or self.networks or self.builds or self.pulls or self.reloads) and all(
            step.waits for step in self.starts
        )

    @property
    def loses_state(self) -> list[str]:
        """Containers with data that would be recreated."""
        return [
            step.container for step in self.starts if step.recreates and step.container in self.stack.stateful
        ]

    def levels(self) -> list[list[str]]:
        """The containers to bring up, those that others of them depend on first."""
        return _levels(
            {
                step.container: set(self.stack.services[step.container].get("depends_on", ()))
                for step in self.starts
            }
        )


def difference(stack: ComposeStack, actual: StacksState) -> Difference:
    """The steps from `actual` to the declared state.

    :raises OperationError: where one of the names or ports belongs to somebody else, or one of the networks is another
    """
    if refusals := [*_foreign(stack, actual), *_taken_ports(stack, actual), *_open_networks(stack, actual)]:
        raise OperationError("\n".join(refusals))
    entries = stack.entries()
    changed = {change.path for change in files.difference(entries, below(entries, actual.tree))}
    builds = tuple(
        reference
        for reference, build in stack.builds.items()
        if (image := actual.images.get(normalized_reference(reference))) is None
        or image.build != build.digest
    )
    starts = tuple(step for name in stack.services if (step := _start(stack, name, actual, builds)))
    started = {step.container for step in starts}
    missing = {
        stack.services[name]["image"]: None
        for name in stack.services
        if name in started and normalized_reference(stack.services[name]["image"]) not in actual.images
    }
    return Difference(
        stack,
        files=tuple(sorted(changed)),
        networks=tuple(sorted(stack.networks - actual.networks.keys())),
        builds=builds,
        pulls=tuple(reference for reference in missing if reference not in stack.builds),
        starts=starts,
        reloads=tuple(
            name
            for name in stack.reload
            if name not in started and _must_reload(stack, name, actual, changed)
        ),
    )


def _start(stack: ComposeStack, name: str, actual: StacksState, builds: Iterable[str]) -> Start | None:
    container = actual.containers.get(name)
    if container is None:
        return Start(name, "is missing")
    reference = stack.services[name]["image"]
    image = actual.images.get(normalized_reference(reference))
    if container.digest != stack.digest(name):
        return Start(name, REMADE, recreates=True)
    if reference in builds or (image and image.id != container.image_id):
        return Start(name, f"was made from another {reference}", recreates=True)
    if container.limits and (reasons := _other_limits(container.limits, stack.limits_of(name))):
        return Start(name, f"was updated by hand: {reasons}", recreates=True)
    networks = stack.networks_of(name)
    # Somebody may have put one that anybody may reach on a further network; one without a way out must have no other.
    strange = container.networks - networks if networks and networks <= stack.networks else frozenset()
    if strange or networks - container.networks:
        on = ", ".join(sorted(container.networks)) or "none"
        return Start(name, f"is on other networks than {', '.join(sorted(networks))}: {on}", recreates=True)
    if container.status != "running":
        return Start(name, f"is {container.status}")
    if container.health is None:
        return Start(name, "is without a health check")
    if container.health != "healthy":
        return Start(name, f"is {container.health}", waits=True)
    return None


def _other_limits(actual: Limits, desired: Limits) -> str:
    """The limits that differ, in words. Where the kernel has none of a kind, the engine leaves it out: 0, or -1."""
    return ", ".join(
        f"{name} {value} instead of {getattr(desired, name)}"
        for name, value in asdict(actual).items()
        if value not in (0, -1, getattr(desired, name))
    )


def changed_declaration(step: Difference, container: str, written: str) -> str:
    """What has changed since a container was created, by the files that an earlier run has written.

    :param step: what has to be done for its stack
    :param written: compose.yaml of the host
    """
    stack = step.stack
    before, after = _written(written, container), {"labels": {}} | literal(stack.services[container])
    words = []
    for key in sorted(before.keys() | after.keys()) if before else ():
        old, new = before.get(key), after.get(key)
        if old != new:
            shown = isinstance(old, str | int | float) and isinstance(new, str | int | float)
            words.append(f"{key} from {old} to {new}" if shown else key)
    read = sorted(set(step.files).intersection(stack.read_by(container)))
    words += [path.removeprefix(f"{stack.folder}/") for path in read]
    return ", ".join(words) or "an earlier run wrote its files and did not recreate it"


def _written(compose: str, container: str) -> dict[str, Any]:
    """A service of compose.yaml; empty where somebody has edited the file into something else."""
    try:
        service = yaml.safe_load(compose)["services"][container]
        labels = {key: value for key, value in service.get("labels", {}).items() if key != DIGEST}
    except (yaml.YAMLError, LookupError, TypeError, AttributeError):
        return {}
    return {**service, "labels": labels}


def _must_reload(stack: ComposeStack, name: str, actual: StacksState, changed: set[str]) -> bool:
    """Whether a file has changed since the container read it, or is just about to.

    By the times on the host, as a run may have died between the file and the reload.
    """
    mounted = stack.mounted(name)
    if changed.intersection(mounted):
        return True
    container = actual.containers[name]
    read = max(container.started or 0.0, actual.changed.get(f"{stack.folder}/{RELOADED}/{name}", 0.0))
    return any(actual.changed.get(path, 0.0) > read for path in mounted)


def _foreign(stack: ComposeStack, actual: StacksState) -> Iterator[str]:
    for name in stack.services:
        container = actual.containers.get(name)
        if container and (container.project, container.service) != (stack.name, name):
            yield (
                f"container {name}: found one {_owner(container)}; expected the one of {stack.name}. It is not removed "
                "unasked: save what it holds, remove it where it is managed (or rename it), and run again"
            )


def without_adopted(stacks: Iterable[ComposeStack], actual: StacksState) -> StacksState:
    """The state without containers of others under the names of stacks that adopt, which an earlier step renames."""
    ours = {name: stack.name for stack in stacks if stack.adopts for name in stack.services}
    return replace(
        actual,
        containers={
            name: container
            for name, container in actual.containers.items()
            if name not in ours or (container.project, container.service) == (ours[name], name)
        },
    )


def _owner(container: Container) -> str:
    project = f"of the Compose project {container.project}" if container.project else "of no Compose project"
    return f"{project}, managed by Coolify" if container.managed else project


def managed(declared: Iterable[Outline], actual: StacksState, remedy: str) -> Iterator[Problem]:
    """A problem for each container of Coolify that has the name of a declared one, or that name as an alias.

    :param declared: the stacks that are about to be brought up
    :param actual: the host
    :param remedy: how such a container is handed over
    """
    ours = {name: stack.name for stack in declared for name in stack.names}
    for container in actual.containers.values():
        if container.managed and (names := sorted(ours.keys() & {container.name, *container.aliases})):
            called = "" if names == [container.name] else f", which answers to {' and '.join(names)}"
            expected = f"these names for stack {' and '.join(sorted({ours[name] for name in names}))}"
            yield Problem(f"container {container.name}", f"{_owner(container)}{called}", expected, remedy)


def _taken_ports(stack: ComposeStack, actual: StacksState) -> Iterator[str]:
    for name, service in stack.services.items():
        for published in service.get("ports", ()):
            address, _, protocol = published.partition("/")
            port = f"{address.split(':')[-2]}/{protocol or 'tcp'}"
            for other in actual.containers.values():
                if port in other.published and other.status == "running" and other.project != stack.name:
                    yield (
                        f"container {name}: found port {port} of the host published by container {other.name}; "
                        "expected it for this one: stop that one, or declare another port"
                    )


def _open_networks(stack: ComposeStack, actual: StacksState) -> Iterator[str]:
    for name in sorted(stack.networks & actual.networks.keys()):
        if not actual.networks[name]:
            yield (
                f"network {name}: found it with a way out; expected it internal. It is not removed unasked: disconnect "
                f"its containers (docker network inspect {name}), `docker network rm {name}`, and run again"
            )


def _levels(dependencies: Mapping[str, set[str]]) -> list[list[str]]:
    """Names in groups, each of which depends only on earlier groups. Names that are no key are ignored."""
    waiting = {name: on & dependencies.keys() for name, on in dependencies.items()}
    levels: list[list[str]] = []
    while waiting:
        ready = [name for name, on in waiting.items() if not on & waiting.keys()]
        if not ready:
            raise OperationValueError(f"depend on each other: {', '.join(sorted(waiting))}")
        levels.append(ready)
        for name in ready:
            del waiting[name]
    return levels


def below(entries: Iterable[Entry], tree: TreeState) -> TreeState:
    """A tree without the abandoned staging folders of other stacks."""
    folders = tuple(f"{entry.path}/" for entry in entries if isinstance(entry, Directory))
    abandoned = tuple(path for path in tree.abandoned if path.rpartition("/")[0] + "/" in folders)
    return TreeState(tree.entries, abandoned)


@dataclass(frozen=True)
class Undeclared:
    """Stacks, containers and files of the host that are no longer declared.

    :param stacks: projects, by their folder or their containers
    :param containers: containers of stacks that are declared themselves
    :param files: files in the folders of such stacks
    """

    stacks: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def undeclared(root: str, declared: Iterable[Outline], actual: StacksState) -> Undeclared:
    """What `actual` has below `root`, or started from there, and what is not declared."""
    stacks = {stack.name: stack for stack in declared}
    folders = {path.rpartition("/")[2] for path in actual.tree.entries if path.rpartition("/")[0] == root}
    ours = [c for c in actual.containers.values() if c.folder == root or c.folder.startswith(f"{root}/")]
    projects = folders | {container.project for container in ours}
    known = {path for stack in stacks.values() for path in stack.paths}
    return Undeclared(
        stacks=tuple(sorted(projects - stacks.keys())),
        containers=tuple(
            sorted(
                container.name
                for container in actual.containers.values()
                if container.project in stacks and container.name not in stacks[container.project].containers
            )
        ),
        files=tuple(
            sorted(
                path
                for path, entry in actual.tree.entries.items()
                if entry.kind != "directory"
                and path not in known
                and f"/{RELOADED}/" not in path
                and any(path.startswith(f"{root}/{name}/") for name in stacks)
            )
        ),
    )

"""Compose projects ("stacks"): their files, their images and their containers, brought to their state together."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.backups import Backups, BackupState
from facts.cache import cached_fact
from facts.files import TreeState
from facts.stacks import BUILD, DIGEST, Container, Stacks, StacksState, normalized_reference
from operations import backup, files, script
from operations.backup import Saving
from operations.checks import Problem, check, insist, insistent
from operations.files import Directory, Entry, File
from operations.notices import notice

COMPOSE_FILE = "compose.yaml"
# A container that runs may come to its health by itself: on a busy machine a health check comes late, and what stood
# on a server that was restarted connects again. Docker asks every 30 s, and a slow answer may take as long.
SETTLED_S = 150
# Touched when a container has read its changed files again.
RELOADED = ".reloaded"

# The new file is validated with the environment files that belong to it: the changed ones lie beside it already. Where
# Compose cannot read one of those it quotes it, secrets included, after "line 3: …".
_VALIDATE = (
    'set -o pipefail; cd "$(dirname {{path}})" && cp --no-clobber -- {folder}/*.env . 2>/dev/null; '
    "docker compose --project-name {name} --file {file} config --quiet 2>&1 | sed -E 's/(line [0-9]+: [a-z ]*).*/\\1/'"
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_WORD = re.compile(r"[^\0-\x1f]+")


@dataclass(frozen=True)
class Build:
    """An image that is built on the host.

    + folder: folder on this machine with a Dockerfile and what it copies
    + args: build arguments; not for secrets, which would stay in the image
    """

    folder: Path
    args: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.folder / "Dockerfile").is_file():
            raise OperationValueError(f"{self.folder}: found no Dockerfile to build an image from")

    @cached_property
    def _context(self) -> list[tuple[str, bool, bytes]]:
        """Path, whether it is executable, and content of each file, in a stable order."""
        paths = sorted(
            path for path in self.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )
        return [
            (path.relative_to(self.folder).as_posix(), bool(path.stat().st_mode & 0o100), path.read_bytes())
            for path in paths
        ]

    @cached_property
    def digest(self) -> str:
        """Hash of everything that the build is given."""
        inputs = [
            [name, executable, hashlib.sha256(data).hexdigest()] for name, executable, data in self._context
        ]
        return _sha256([inputs, sorted(self.args.items())])

    def archive(self) -> str:
        """The folder as a tar archive in base64."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, executable, data in self._context:
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(data), 0o755 if executable else 0o644
                archive.addfile(info, io.BytesIO(data))
        return base64.encodebytes(stream.getvalue()).decode()


@dataclass(frozen=True)
class Stack:
    """A Compose project in a folder of its own.

    Every service is named as its container, so that Compose adds no further name to the network, and has a health
    check, so that there is something to wait for.

    + name: of the project
    + folder: absolute path; only root can look into it
    + project: what compose.yaml says but for the name, read literally: nothing is interpolated
    + files: environment files (in the folder itself, named relative to it in `env_file`), mounted files, and the
        directories of these, with their absolute paths below the folder
    + reload: for a container that reads its mounted files again, the command in it that does so; that of any other
        is recreated when they change
    + stateful: containers that hold data
    + networks: those of `project` that are without a way out; they are made where they are missing
    + builds: how images that no registry has are built, by their references
    + adopts: a step before sets containers of others under its names aside, so that a run that is only being prepared
        takes these for gone
    """

    name: str
    folder: str
    project: Mapping[str, Any]
    files: tuple[Directory | File, ...] = ()
    reload: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stateful: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    builds: Mapping[str, Build] = field(default_factory=dict)
    adopts: bool = False

    def __post_init__(self) -> None:
        where = f"stack {self.name}"
        if not _NAME.fullmatch(self.name):
            raise OperationValueError(f"{where}: expected a name of lower-case letters, digits, - and _")
        for name, service in self.services.items():
            if service.get("container_name") != name:
                raise OperationValueError(f"{where}: service {name} must have that container_name")
            if "healthcheck" not in service:
                raise OperationValueError(f"{where}: service {name} has no healthcheck")
            if missing := sorted(set(self._environment(name)) - self._contents.keys()):
                raise OperationValueError(
                    f"{where}: service {name} reads {missing[0]}, which is not declared"
                )
        for entry in self.files:
            if PurePosixPath(self.folder) not in PurePosixPath(entry.path).parents:
                raise OperationValueError(f"{where}: {entry.path} is not below {self.folder}")
        for name in sorted(self.networks):
            if not _NAME.fullmatch(name):
                raise OperationValueError(f"{where}: {name!r} is not a name for a network of Docker")
        for name in {*self.reload, *self.stateful} - self.services.keys():
            raise OperationValueError(f"{where}: has no service {name}")
        for name, command in self.reload.items():
            if not command or not all(_WORD.fullmatch(word) for word in command):
                raise OperationValueError(
                    f"{where}: {command!r} is no command that {name} could be reloaded by"
                )

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """Definitions by the names of their containers."""
        services: Mapping[str, Mapping[str, Any]] = self.project["services"]
        return services

    def networks_of(self, service: str) -> frozenset[str]:
        """What Docker calls the networks that a service is on."""
        named = self.project.get("networks", {})
        return frozenset(
            (named.get(key) or {}).get("name", key) for key in self.services[service].get("networks", ())
        )

    @property
    def images(self) -> list[str]:
        """References of all images."""
        return list(dict.fromkeys(service["image"] for service in self.services.values()))

    def mounted(self, service: str) -> list[str]:
        """Declared files that a service has mounted, by themselves or with their folder."""
        sources = [
            volume["source"] for volume in self.services[service].get("volumes", ()) if "source" in volume
        ]
        return [
            path for path in self._contents if any(path == s or path.startswith(f"{s}/") for s in sources)
        ]

    @property
    def _contents(self) -> dict[str, File]:
        return {entry.path: entry for entry in self.files if isinstance(entry, File)}

    def _environment(self, service: str) -> list[str]:
        return [f"{self.folder}/{name}" for name in self.services[service].get("env_file", ())]

    def digest(self, service: str) -> str:
        """Hash of everything that a container is made from: what it is declared as, and the files that it reads."""
        read = self._environment(service)
        if service not in self.reload:
            read += self.mounted(service)
        contents = [[path, self._contents[path].sha256, self._contents[path].owner] for path in sorted(read)]
        return _sha256([self.services[service], contents])

    def compose(self) -> str:
        """compose.yaml: the project with the digest of each service as a label."""
        services = {
            name: {**service, "labels": {**service.get("labels", {}), DIGEST: self.digest(name)}}
            for name, service in self.services.items()
        }
        document = _literal({"name": self.name, **self.project, "services": services})
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)

    def entries(self) -> list[Entry]:
        """Everything in its folder, and the folders themselves."""
        path = f"{self.folder}/{COMPOSE_FILE}"
        validate = _VALIDATE.format(folder=self.folder, name=self.name, file=COMPOSE_FILE)
        return [
            Directory(str(PurePosixPath(self.folder).parent), mode="0700"),
            Directory(self.folder, mode="0700"),
            *sorted(self.files, key=lambda entry: isinstance(entry, File)),
            File(path, self.compose(), validate=validate),
        ]


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _literal(value: Any) -> Any:
    """A document in which Compose finds nothing to interpolate."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {_literal(key): _literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(item) for item in value]
    return value


@dataclass(frozen=True)
class Start:
    """A container that has to be brought up, and why.

    :param recreates: that takes away the one that is there
    :param waits: it runs, so that nothing can be done but wait for its health
    """

    container: str
    reason: str
    recreates: bool = False
    waits: bool = False


@dataclass(frozen=True)
class Difference:
    """What has to be done for one stack, in this order; nothing where it is as declared.

    :param files: paths that differ
    :param networks: networks that have to be made
    :param builds: references of images that have to be built
    :param pulls: references of images that have to be pulled
    :param starts: containers to bring up
    :param reloads: containers that have to read their files again
    """

    stack: Stack
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
        """Whether nothing has to be done but wait."""
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


def difference(stack: Stack, actual: StacksState) -> Difference:
    """What has to be done to `actual`.

    Raises `OperationError` where one of the names or ports belongs to somebody else, or one of the networks is another.
    """
    if refusals := [*_foreign(stack, actual), *_taken_ports(stack, actual), *_open_networks(stack, actual)]:
        raise OperationError("\n".join(refusals))
    entries = stack.entries()
    changed = {change.path for change in files.difference(entries, _below(entries, actual.tree))}
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


def _start(stack: Stack, name: str, actual: StacksState, builds: Iterable[str]) -> Start | None:
    container = actual.containers.get(name)
    if container is None:
        return Start(name, "is missing")
    reference = stack.services[name]["image"]
    image = actual.images.get(normalized_reference(reference))
    if container.digest != stack.digest(name):
        return Start(name, "was made from another declaration", recreates=True)
    if reference in builds or (image and image.id != container.image_id):
        return Start(name, f"was made from another {reference}", recreates=True)
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


def _must_reload(stack: Stack, name: str, actual: StacksState, changed: set[str]) -> bool:
    """Whether a file has changed since the container read it, or is just about to.

    By the times on the host, as a run may have died between the file and the reload.
    """
    mounted = stack.mounted(name)
    if changed.intersection(mounted):
        return True
    container = actual.containers[name]
    read = max(container.started or 0.0, actual.changed.get(f"{stack.folder}/{RELOADED}/{name}", 0.0))
    return any(actual.changed.get(path, 0.0) > read for path in mounted)


def _foreign(stack: Stack, actual: StacksState) -> Iterator[str]:
    for name in stack.services:
        container = actual.containers.get(name)
        if container and (container.project, container.service) != (stack.name, name):
            yield (
                f"container {name}: found one {_owner(container)}; expected the one of {stack.name}. It is not removed "
                "unasked: save what it holds, remove it where it is managed (or rename it), and run again"
            )


def _set_aside(stacks: Iterable[Stack], actual: StacksState) -> StacksState:
    """What is there once containers of others under the names of stacks that adopt have been set aside."""
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
    """A problem for each container of Coolify's that has a declared container's name, or answers to one on a network.

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


def _taken_ports(stack: Stack, actual: StacksState) -> Iterator[str]:
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


def _open_networks(stack: Stack, actual: StacksState) -> Iterator[str]:
    for name in sorted(stack.networks & actual.networks.keys()):
        if not actual.networks[name]:
            yield (
                f"network {name}: found it with a way out; expected it internal. It is not removed unasked: disconnect "
                f"its containers (docker network inspect {name}), `docker network rm {name}`, and run again"
            )


def _levels(dependencies: Mapping[str, set[str]]) -> list[list[str]]:
    """Names in groups, each of which depends on groups before it only; what is no key does not matter."""
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


@operation()
def up(
    root: str,
    stacks: Sequence[Stack],
    timeout_s: int = 300,
    before_recreate: Saving | None = None,
    skip_if_running: str | None = None,
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Bring stacks to their declared state: one question for all of them, and nothing done where nothing differs.

    Otherwise, in this order: `before_recreate`; images that are missing; all files, once Compose has accepted the new
    compose.yaml; networks that are missing; containers that are missing, stopped or made from anything else than what
    is declared, those that others depend on first, each level until it is healthy; reloads. Fails with a container's
    own last lines when it does not become healthy. What a killed run left undone is what then differs. Where nothing
    differs but the health of containers that run, they first get up to `SETTLED_S` to come to it by themselves, which
    is no change.

    Raises `OperationError`, before anything is changed, where another's container has the name or the port of a
    declared one, and where a container with data would be recreated without `before_recreate`, or while it is down.

    + root: folder that the folders of all stacks are in
    + stacks: what is wanted, in the order in which they are brought up
    + timeout_s: seconds within which a stack has to be healthy, pulls and builds not counted
    + before_recreate: how the data of stateful containers is saved; a backup that fails ends the run
    + skip_if_running: name of a container of another project in whose presence, running, nothing is done
    """
    for stack in stacks:
        if str(PurePosixPath(stack.folder).parent) != root:
            raise OperationValueError(f"stack {stack.name}: its folder {stack.folder} is not in {root}")

    actual = _seen(root, stacks)
    if skip_if_running and (other := _in_place(skip_if_running, stacks, actual)):
        host.noop(f"{other.name} of {other.project or 'somebody else'} does this")
        return

    def differing() -> tuple[StacksState, list[Difference]]:
        actual = _seen(root, stacks)
        return actual, [step for stack in stacks if (step := difference(stack, actual))]

    patience_s = min(SETTLED_S, timeout_s) if state.is_executing else 0
    actual, todo = insist(differing, lambda answer: _comes_by_itself(answer[1]), patience_s)
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
    if command := files.apply(entries, _below(entries, actual.tree)):
        yield command
    if networks := list(dict.fromkeys(name for step in todo for name in step.networks)):
        yield script.run("docker/networks.sh", *networks)
    for step in todo:
        yield from _containers(step, timeout_s)


def _seen(root: str, stacks: Iterable[Stack]) -> StacksState:
    """The host; for a run that is being prepared, without what it will set aside."""
    actual: StacksState = cached_fact(Stacks, root=root)
    return actual if state.is_executing else _set_aside(stacks, actual)


def _comes_by_itself(todo: Sequence[Difference]) -> list[str]:
    """Containers whose health is all that differs; none where there is something to do, on which it may depend."""
    if not all(step.only_waits for step in todo):
        return []
    return [f"{start.container}, which {start.reason}" for step in todo for start in step.starts]


def unsettled(stacks: Iterable[Outline], actual: StacksState) -> Iterator[Problem]:
    """What `settled` finds: containers that run, and of which Docker does not know that they are healthy by now."""
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
@insistent(SETTLED_S)
def settled(root: str, stacks: Sequence[Outline]) -> Iterator[Problem]:
    """Every container that runs is healthy, and was found so after what holds data was last started.

    So a run that changed a password, or restarted a server for it, ends with everything that uses it on the new one.

    + root: folder that the folders of all stacks are in
    + stacks: whose containers
    """
    yield from unsettled(stacks, cached_fact(Stacks, root=root))


def _in_place(name: str, stacks: Iterable[Stack], actual: StacksState) -> Container | None:
    container = actual.containers.get(name)
    ours = {stack.name for stack in stacks}
    return (
        container if container and container.status == "running" and container.project not in ours else None
    )


def _below(entries: Iterable[Entry], tree: TreeState) -> TreeState:
    """The part of a tree that is about these entries' folders: what other stacks left half done is theirs."""
    folders = tuple(f"{entry.path}/" for entry in entries if isinstance(entry, Directory))
    abandoned = tuple(path for path in tree.abandoned if path.rpartition("/")[0] + "/" in folders)
    return TreeState(tree.entries, abandoned)


def _report_reasons(todo: Iterable[Difference]) -> None:
    if not (state.is_executing or state.config.DIFF):
        return
    for step in todo:
        for start in step.starts:
            host.log(f"{start.container}: {start.reason}")
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


@dataclass(frozen=True)
class Outline:
    """What a declared stack has on a host, by name alone: for this nobody needs its secrets.

    :param name: of the project
    :param containers: their names
    :param aliases: what they are called on the network besides
    :param paths: everything in its folder
    :param stateful: containers that hold data
    """

    name: str
    containers: frozenset[str]
    aliases: frozenset[str]
    paths: frozenset[str]
    stateful: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """Everything that its containers are called."""
        return self.containers | self.aliases


@dataclass(frozen=True)
class Undeclared:
    """What is on the host and no longer declared.

    :param stacks: projects, by their folder or their containers
    :param containers: containers of stacks that are declared themselves
    :param files: files in the folders of such stacks
    """

    stacks: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def undeclared(root: str, declared: Iterable[Outline], actual: StacksState) -> Undeclared:
    """What `actual` has that is not declared, of what lies in `root` or was started from there."""
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


@notice
def report_undeclared(
    root: str, declared: Sequence[Outline], remedy: str = "they stay until they are removed by name"
) -> Iterable[str]:
    """Say which stacks, containers and files are on the host and no longer declared; nothing of it is removed.

    + root: folder that the folders of all stacks are in
    + declared: all stacks that are declared, whatever the run is for
    + remedy: what becomes of what is found, for whoever reads it
    """
    undeclared_names = undeclared(root, declared, cached_fact(Stacks, root=root))
    for kind in ("stacks", "containers", "files"):
        if names := getattr(undeclared_names, kind):
            yield f"{kind} that are not declared: {', '.join(names)}; {remedy}"


@operation()
def removed(
    root: str, names: Sequence[str], saved: str | None = None
) -> Generator[StringCommand, None, None]:
    """Stacks, or single containers, that are not to be there: their containers and folders go.

    Their volumes stay unless `saved` is given. Then each volume that no other container has is archived while nothing
    runs on it, the archive is compared with it to the last byte, and only then it is removed.

    + root: folder that the folders of all stacks are in
    + names: projects, and names of containers that were started from below `root`
    + saved: folder for the archives, VOLUME/TIME.tar.zst
    """
    for name in names:
        if not _NAME.fullmatch(name):
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

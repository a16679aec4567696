"""Adopt containers that an earlier owner runs under declared names: take over their data, and keep them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.adoption import Adoption, AdoptionState, FormerContainer
from operations import script
from operations.checks import report
from specs.problems import Problem

ASIDE = "-old"
KINDS = ("", "postgres", "redis")
REFUSED = "containers of others have declared names, and nothing was changed"


@dataclass(frozen=True)
class Successor:
    """A declared container whose name an earlier container may have.

    :param project: its Compose project
    :param image: of a Redis, what reads the copy of the old one's data
    :param volumes: by the path in it, the name of the volume and what Compose calls it in the project
    :param kind: what is done with the data of an old one: that of `postgres` is left to be dumped, of `redis` the keys
        are counted as well, of others the files are copied
    """

    name: str
    project: str
    image: str = ""
    volumes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    kind: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise OperationValueError(f"{self.name}: {self.kind!r} is none of {', '.join(KINDS)}")

    @property
    def aside(self) -> str:
        """The new name of an earlier container of its name."""
        return self.name + ASIDE

    def foreign(self, actual: AdoptionState) -> FormerContainer | None:
        """The container of its name that belongs to another project."""
        existing = actual.containers.get(self.name)
        return None if existing is None or existing.ours or self._goes_on(existing) else existing

    def replaces(self, existing: FormerContainer) -> bool:
        """Whether Compose takes a container for an earlier one of this, and removes it."""
        return (existing.project, existing.service) == (self.project, self.name)

    def _goes_on(self, existing: FormerContainer) -> bool:
        # Compose makes it anew with the volumes that it has. A Postgres of another image does not survive that.
        same = all(existing.volumes.get(path) == volume for path, (volume, _) in self.volumes.items())
        return self.replaces(existing) and same and self.kind != "postgres"


def fact_arguments(successors: Iterable[Successor]) -> dict[str, list[str]]:
    """The arguments of the fact."""
    return {
        "names": [name for successor in successors for name in (successor.name, successor.aside)],
        "volumes": [volume for successor in successors for volume, _ in successor.volumes.values()],
    }


@dataclass(frozen=True)
class AdoptionStep:
    """One step: rename a container, or copy the files at one of its paths into a volume."""

    successor: Successor
    path: str | None = None


def difference(successors: Sequence[Successor], actual: AdoptionState) -> list[AdoptionStep]:
    """The steps in their order; none where no earlier container exists."""
    steps = []
    for successor in successors:
        foreign = successor.foreign(actual)
        if foreign:
            steps.append(AdoptionStep(successor))
        old = foreign or actual.containers.get(successor.aside)
        if old and successor.kind != "postgres":
            steps += [
                AdoptionStep(successor, path)
                for path, (volume, _) in successor.volumes.items()
                if volume not in actual.volumes and path in old.volumes
            ]
    return steps


def problems(
    successors: Sequence[Successor], actual: AdoptionState, state_folder: str, migrate_postgres: bool
) -> Iterator[Problem]:
    """A problem for each thing that prevents the adoption. Arguments as of `adopted`."""
    for successor in successors:
        foreign = successor.foreign(actual)
        if foreign is None:
            continue
        what = f"container {successor.name}"
        if foreign.managed:
            yield Problem(
                what,
                "managed by Coolify",
                "one of ours, or none",
                "hand it over in Coolify, which would bring it back",
            )
        elif successor.aside in actual.containers:
            yield Problem(
                what,
                f"not ours, and {successor.aside} is there too",
                "one of the two",
                "remove or rename one of them",
            )
        elif successor.replaces(foreign):
            yield Problem(
                what,
                f"of the Compose project {foreign.project}, as ours is: Compose would remove it, and leave its data in "
                f"{_volumes(foreign)}",
                "one that can be set aside",
                "make it anew with docker run, of the same volumes",
            )
        elif taken := sorted(
            {volume for volume, _ in successor.volumes.values()}.intersection(foreign.volumes.values())
        ):
            yield Problem(
                what,
                f"its data is in {', '.join(taken)}, which is what ours is called",
                "a volume of another name, to be copied from and kept",
                "copy the volume into one of another name, make the container anew with that, and remove this one",
            )
        elif successor.kind == "postgres" and not migrate_postgres:
            yield Problem(
                what,
                _why_not(foreign),
                "a Postgres of ours",
                "--data postgres_migrate=true, which dumps it, restores into a "
                "new volume, compares table by table and keeps the old one",
            )
        elif successor.kind == "postgres" and successor.aside in actual.copied:
            volumes = [volume for volume, _ in successor.volumes.values()]
            yield _back_again(what, volumes, f"rm -r {state_folder}/{successor.aside}")
        else:
            for path, (volume, _) in successor.volumes.items():
                if volume in actual.volumes:
                    yield _back_again(what, [volume], f"rm {state_folder}/volumes/{volume}")
                elif volume in actual.occupied:
                    yield Problem(
                        what,
                        f"a volume {volume} that holds something, which is what ours is called",
                        "none: what the container has goes into a new one",
                        f"save what is in it if that is needed, and docker volume rm {volume}",
                    )
                if successor.kind != "postgres" and path not in foreign.volumes:
                    yield Problem(
                        f"{what}: {path}",
                        "no volume there: its data is in the container",
                        "a volume",
                        "save it by hand",
                    )


def _back_again(what: str, volumes: Sequence[str], forget: str) -> Problem:
    """A problem where an adopted container runs again: the copy lacks what it has received since."""
    names = " ".join(volumes)
    return Problem(
        what,
        f"not ours, and what it had before is in {names}",
        "one of the two",
        f"to take over what it has now: save {names} if that is needed, docker volume rm {names} and {forget}",
    )


def _why_not(postgres: FormerContainer) -> str:
    where = f"{postgres.image}, with its data in {_volumes(postgres)}"
    if postgres.os == "alpine":
        return (
            f"{where}: Alpine's C library (musl) orders text otherwise than Debian's (glibc), so that indexes on text "
            "would silently be wrong under another image"
        )
    return f"{where}: its cluster was made by another image, with another layout and other locales"


def _volumes(container: FormerContainer) -> str:
    return ", ".join(container.volumes.values()) or "none"


@operation()
def adopted(
    successors: Sequence[Successor], state_folder: str, migrate_postgres: bool = False
) -> Generator[StringCommand, None, None]:
    """Take over the data of earlier containers under declared names, and free the names.

    Such a container is cut off from the networks, stopped, never started again by Docker, and renamed NAME-old; a
    Postgres goes on running, to be copied from. What it has in volumes is copied into the declared ones and compared:
    files by their hashes, a Redis by its keys in each index. Nothing of it is removed. The next run
    completes a killed one.

    Raises `OperationError`, before anything is changed, for containers that Coolify manages, for a Postgres without
    `migrate_postgres`, for data outside of volumes, for an adopted one that runs again, for declared volumes that
    hold something already, and for what could not be kept: volumes with the names of the declared ones, and containers
    that Compose would take for its own.

    + successors: the declared containers
    + state_folder: private folder of the host for records
    + migrate_postgres: a Postgres that was there before is set aside, to be copied from
    """
    actual: AdoptionState = host.get_fact(Adoption, state=state_folder, **fact_arguments(successors))
    todo = difference(successors, actual)
    if wrong := list(problems(successors, actual, state_folder, migrate_postgres)):
        raise OperationError(report(REFUSED, wrong))
    if not todo:
        host.noop("nothing was there before")
        return
    for step in todo:
        host.log_styled(_sentence(step, actual), fg="yellow", log_func=logger.warning)
    # What reads a copy is there before anything is stopped.
    if images := sorted({step.successor.image for step in todo if step.successor.kind == "redis"}):
        yield script.run("docker/pull.sh", *images, stream=True)
    for step in todo:
        yield _command(step, state_folder)


def _sentence(step: AdoptionStep, actual: AdoptionState) -> str:
    successor = step.successor
    old = successor.foreign(actual) or actual.containers[successor.aside]
    if step.path is None:
        owner = f"of the Compose project {old.project}" if old.project else "of no Compose project"
        return f"{successor.name} {owner} ({old.image}) is set aside as {successor.aside}, with its volumes"
    return f"{successor.name}: {old.volumes[step.path]} ({step.path}) is copied into {successor.volumes[step.path][0]}"


def _command(step: AdoptionStep, state_folder: str) -> StringCommand:
    successor = step.successor
    if step.path is None:
        kind = successor.kind or "-"
        return script.run(
            "migration/set-aside.sh", state_folder, successor.name, successor.aside, kind, stream=True
        )
    volume, key = successor.volumes[step.path]
    checked = [f"{state_folder}/{successor.name}.keys", successor.image] if successor.kind == "redis" else []
    return script.run(
        *(
            "migration/volume-copy.sh",
            state_folder,
            successor.aside,
            step.path,
            volume,
            successor.project,
            key,
        ),
        *checked,
        stream=True,
    )


def old(containers: Sequence[str], actual: AdoptionState) -> list[FormerContainer]:
    """Those of some containers that exist."""
    return [actual.containers[name] for name in containers if name in actual.containers]


@operation()
def retired(containers: Sequence[str], state_folder: str) -> Generator[StringCommand, None, None]:
    """Stop containers whose data has been taken over, and keep Docker from starting them. They and their volumes stay.

    + containers: names; those that do not exist are none
    + state_folder: private folder of the host for records
    """
    actual: AdoptionState = host.get_fact(Adoption, state=state_folder, names=containers)
    todo = [each.name for each in old(containers, actual) if each.status == "running" or each.restart != "no"]
    if todo:
        yield script.run("migration/retire.sh", *todo, stream=True)
    else:
        host.noop("none of them runs")


@operation()
def removed(containers: Sequence[str], state_folder: str) -> Generator[StringCommand, None, None]:
    """Remove containers that are stopped for good. The log names their volumes, which stay.

    + containers: names; those that do not exist are none
    + state_folder: private folder of the host for records
    """
    actual: AdoptionState = host.get_fact(Adoption, state=state_folder, names=containers)
    todo = [each.name for each in old(containers, actual)]
    if todo:
        yield script.run("migration/remove.sh", *todo, stream=True)
    else:
        host.noop("none of them is there")

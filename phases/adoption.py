"""Adoption of an existing host: foreign containers with the names of ours, and servers that single projects had."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from blueprint import Blueprint, Secrets
from blueprint.applied import Applied
from blueprint.model import Predecessor, Stack
from blueprint.names import POSTGRES, REDIS
from blueprint.stacks import volume
from facts.adoption import Adoption, AdoptionState
from facts.postgres_copy import CopyState, PostgresCopy
from operations import adoption, backup, orphans, postgres, postgres_copy, redis_keys
from operations.adoption import ASIDE, Successor
from operations.checks import report
from operations.postgres_copy import Copy
from phases.backup import saving
from specs.postgres import LoginRole
from specs.problems import Problem

_PROJECT = Path(__file__).resolve().parent.parent


def folder(blueprint: Blueprint) -> str:
    """Folder of the host for the records of an adoption, and for dumps while it runs."""
    return f"{blueprint.paths.state}/migrations"


def successors(stacks: Sequence[Stack]) -> list[Successor]:
    """The containers of these stacks, as successors of foreign containers with their names."""
    kinds = {POSTGRES: "postgres", REDIS: "redis"}
    return [
        Successor(
            name=service.name,
            project=stack.name,
            image=service.image,
            volumes={path: (volume(stack, name), name) for name, path in service.volumes.items()},
            kind=kinds.get(service.name, ""),
        )
        for stack in stacks
        for service in stack.services
    ]


def _found(blueprint: Blueprint, names: Collection[str], volumes: Collection[str] = ()) -> AdoptionState:
    found: AdoptionState = host.get_fact(Adoption, state=folder(blueprint), names=names, volumes=volumes)
    return found


def existing(blueprint: Blueprint, stacks: Sequence[Stack], secrets: Secrets) -> AdoptionState:
    """The foreign containers on the host that have the names of these stacks' containers.

    :raises DeployError: a container needs the owner's consent, or a secret of it is missing
    """
    if not stacks:
        return AdoptionState()
    ours = successors(stacks)
    found = _found(blueprint, **adoption.fact_arguments(ours))
    problems = [
        *adoption.problems(ours, found, folder(blueprint), blueprint.postgres_migrate),
        *_missing_secrets(blueprint, stacks, found, secrets),
    ]
    if problems:
        raise DeployError(report(adoption.REFUSED, problems))
    return found


def _missing_secrets(
    blueprint: Blueprint, stacks: Sequence[Stack], found: AdoptionState, secrets: Secrets
) -> Iterator[Problem]:
    """A problem for each missing secret that the data of a foreign container is encrypted with."""
    reasons = {
        form.name: form.rotation_blocked_by for form in blueprint.secret_formats if form.rotation_blocked_by
    }
    foreign = {each.name for each in successors(stacks) if each.foreign(found)}
    users = {
        name: service.name
        for stack in stacks
        for service in stack.services
        if service.name in foreign
        for name in service.secrets_used & reasons.keys()
        if not secrets.has(name)
    }
    for name, container in sorted(users.items()):
        yield Problem(
            f"{secrets.file}: {name}",
            "missing",
            f"the one of container {container} ({reasons[name]})",
            f"docker inspect {container} has it among the variables; where it never had one, make one up",
        )


def adopt(blueprint: Blueprint, stacks: Sequence[Stack], found: AdoptionState) -> None:
    """Rename foreign containers with the names of these stacks' containers, and copy their data into our volumes.

    :param found: from `existing`
    """
    ours = successors(stacks)
    if adoption.difference(ours, found):
        adoption.adopted(
            name="Foreign containers with names of ours",
            successors=ours,
            state_folder=folder(blueprint),
            migrate_postgres=blueprint.postgres_migrate,
        )


@deploy("Databases of the previous Postgres")
def take_over_postgres(blueprint: Blueprint, owners: Mapping[str, LoginRole]) -> None:
    """Copy every declared database of the old shared-postgres, then stop that server and keep it.

    :param owners: role that owns each declared database
    :raises DeployError: a database cannot be copied; nothing is changed then
    """
    old = POSTGRES + ASIDE
    found = _found(blueprint, (POSTGRES, old))
    foreign = any(each.foreign(found) for each in successors(blueprint.stacks) if each.name == POSTGRES)
    if not foreign and old not in found.containers:
        return
    copies = [Copy(name, owner.name, required=False) for name, owner in owners.items()]
    # The old server keeps its name until this run renames it; a new one does not exist before that.
    state = _refuse(blueprint, POSTGRES if foreign else old, "" if foreign else POSTGRES, copies)
    if not state.complete:
        postgres.databases(
            name="Owners of the databases",
            container=POSTGRES,
            desired=[],
            roles=[owner for name, owner in owners.items() if state.source is None or name in state.source],
        )
        _copied(blueprint, old, copies)
    adoption.retired(name=f"{old} is stopped and kept", containers=[old], state_folder=folder(blueprint))


@deploy("Previous servers of the project")
def take_over(blueprint: Blueprint, predecessors: Sequence[Predecessor]) -> None:
    """Copy their databases, report the keys that their Redis still has, then stop the servers and keep them.

    :raises DeployError: a database cannot be copied; nothing is changed then
    """
    names = [predecessor.container for predecessor in predecessors]
    if not _found(blueprint, names).containers:
        return
    roles = {database.name: database.role for database in blueprint.databases}
    for predecessor in predecessors:
        if not predecessor.databases:
            redis_keys.report(name=f"Keys left in {predecessor.container}", container=predecessor.container)
            continue
        copies = [
            Copy(name, roles[name], _sql(predecessor.after.get(name))) for name in predecessor.databases
        ]
        _refuse(blueprint, predecessor.container, POSTGRES, copies)
        _copied(blueprint, predecessor.container, copies)
    adoption.retired(
        name="Previous servers are stopped and kept", containers=names, state_folder=folder(blueprint)
    )


def _refuse(blueprint: Blueprint, source: str, target: str, copies: Sequence[Copy]) -> CopyState:
    found: CopyState = host.get_fact(PostgresCopy, state=folder(blueprint), source=source, target=target)
    if problems := list(postgres_copy.refusals(source, target, copies, blueprint.left_behind, found)):
        raise DeployError(report(postgres_copy.REFUSED.format(source), problems))
    return found


def _copied(blueprint: Blueprint, source: str, copies: Sequence[Copy]) -> None:
    postgres_copy.copied(
        name=f"Databases of {source}",
        source=source,
        target=POSTGRES,
        databases=copies,
        state_folder=folder(blueprint),
        leave=blueprint.left_behind,
    )


def _sql(file: str | None) -> str:
    return (_PROJECT / file).read_text() if file else ""


def report_orphans(blueprint: Blueprint) -> None:
    """Report containers without an owner, and variables that look like a mistake (requirements 12, phase 2)."""
    replaced = [
        predecessor.container for project in blueprint.projects for predecessor in project.predecessors
    ]
    orphans.report(
        name="Orphans and stray variables",
        root=blueprint.paths.stacks,
        known=[blueprint.whisper.name, *replaced, *(each.aside for each in successors(blueprint.stacks))],
    )


def remove_replaced(
    applied: Applied, stacks: Sequence[Stack], predecessors: Sequence[Predecessor] = ()
) -> None:
    """With `--data remove_migrated=true`, back up the successors' data, then remove the old containers.

    :param stacks: the renamed containers are those with the names of their containers
    :param predecessors: previous servers of a project
    """
    blueprint = applied.blueprint
    names = [
        *(successor.aside for successor in successors(stacks)),
        *(predecessor.container for predecessor in predecessors),
    ]
    if not blueprint.remove_migrated or not _found(blueprint, names).containers:
        return
    whole = saving(applied)
    servers = {POSTGRES, *(service.name for stack in stacks for service in stack.services)}
    backup.fresh(
        name="Backup of the data that was taken over",
        pieces=sorted({piece for name in servers for piece in whole.pieces.get(name, ())}),
        command=whole.command,
        root=whole.root,
    )
    adoption.removed(name="Previous containers are removed", containers=names, state_folder=folder(blueprint))

"""Steps that several phases share, and what each phase says of its stacks."""

from __future__ import annotations

from collections.abc import Iterable

from blueprint import Blueprint, Secrets
from blueprint.applied import Applied
from blueprint.compose import stack
from blueprint.model import Database
from blueprint.names import POSTGRES
from blueprint.roles import monitor_role, owned_databases
from operations import postgres
from operations import stacks as stack_operations
from phases import backup
from phases.hardware.upkeep import TELEGRAM


def deploy_stacks(
    name: str, applied: Applied, secrets: Secrets, stacks: Iterable[str], timeout_s: int = 300
) -> None:
    """Deploy stacks of the host by their names, with a backup before a container with data is recreated."""
    stack_operations.up(
        name=name,
        root=applied.blueprint.paths.stacks,
        stacks=[stack(applied, secrets, one) for one in stacks],
        before_recreate=backup.saving(applied),
        timeout_s=timeout_s,
    )


def deploy_databases(name: str, blueprint: Blueprint, secrets: Secrets, declared: Iterable[Database]) -> None:
    """Create databases, their roles and grants, and repair what differs."""
    postgres.databases(
        name=name,
        container=POSTGRES,
        desired=owned_databases(blueprint, declared, secrets),
        roles=[monitor_role(blueprint, secrets)],
    )


def containers(blueprint: Blueprint, phase: str) -> Iterable[str]:
    """A line for each container of a phase, for the report at the end of a run."""
    for one in blueprint.stacks_of(phase):
        for service in one.services:
            yield f"{service.name}: {service.image}, {service.memory}"


def provided_secrets(blueprint: Blueprint, phase: str) -> list[str]:
    """Secrets that others issue and that a phase needs, for its containers, the backups and messages to the owner."""
    services = (service for one in blueprint.stacks_of(phase) for service in one.services)
    keys = {name for service in services for name in service.provided_secrets.values()}
    return sorted(keys.union(backup.provided_secrets(blueprint), TELEGRAM))

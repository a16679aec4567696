"""Roles of Postgres with their verifiers, the databases that they own, and passwords of servers' users."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from blueprint import postgres, scram
from blueprint.host import Blueprint
from blueprint.model import Database
from blueprint.secrets import Secrets
from specs.postgres import LoginRole, OwnedDatabase


def password(secrets: Secrets, server: str) -> Callable[[str], str]:
    """The password of each user of a server ("postgres", "redis"), generated at its first use."""
    return lambda user: secrets.generated(f"{server}/{user}")


def verifier(secrets: Secrets) -> Callable[[str], str]:
    """SCRAM verifier of a role, the same at every run: Postgres and PgBouncer compare it literally."""
    return lambda role: scram.verifier(
        secrets.generated(f"postgres/{role}"), secrets.generated(f"postgres/{role}.salt", scram.salt)
    )


def monitor_role(blueprint: Blueprint, secrets: Secrets) -> LoginRole:
    """The role that monitors every database."""
    limits = postgres.connection_limits(blueprint.postgres, blueprint.databases)
    return LoginRole(
        postgres.MONITOR, verifier(secrets)(postgres.MONITOR), ("pg_monitor",), limits[postgres.MONITOR]
    )


def owned_databases(
    blueprint: Blueprint, declared: Iterable[Database], secrets: Secrets
) -> list[OwnedDatabase]:
    """Databases with the roles that own them and those that may connect."""
    limits = postgres.connection_limits(blueprint.postgres, blueprint.databases)

    def role(name: str) -> LoginRole:
        return LoginRole(name, verifier(secrets)(name), connection_limit=limits[name])

    return [
        OwnedDatabase(
            database.name,
            role(database.role),
            database.extensions,
            (*(role(name) for name in database.connect_roles), monitor_role(blueprint, secrets)),
        )
        for database in declared
    ]

"""shared-postgres and shared-redis: containers, settings, databases, roles and users (requirements 5 and 6)."""

from __future__ import annotations

from typing import Any

from pyinfra.api.deploy import deploy

from blueprint import Secrets
from blueprint import postgres as postgres_files
from blueprint import redis as redis_files
from blueprint.applied import Applied
from blueprint.compose import HBA
from blueprint.names import POSTGRES, REDIS
from blueprint.roles import owned_databases, password
from operations import postgres, redis
from phases.adoption import take_over_postgres
from phases.shared import deploy_databases, deploy_stacks


@deploy("Datastores")
def datastores(applied: Applied, secrets: Secrets) -> None:
    """Both servers, then their databases, roles and users, which are never dropped. Each project adds its own later."""
    blueprint = applied.blueprint
    deploy_stacks("Containers of Postgres and Redis", applied, secrets, ("postgres", "redis"), timeout_s=900)
    settings = postgres_files.settings(blueprint.postgres)
    hba = HBA.read_text()
    postgres.settings(name="Settings of Postgres", container=POSTGRES, desired=settings, hba=hba)
    deploy_databases("Databases and roles", blueprint, secrets, blueprint.shared_databases)
    owners = {
        database.name: database.owner for database in owned_databases(blueprint, blueprint.databases, secrets)
    }
    take_over_postgres(blueprint=blueprint, owners=owners)
    redis_users(applied, secrets)
    postgres.postgres(
        name="Postgres is as declared",
        container=POSTGRES,
        desired=owned_databases(blueprint, blueprint.shared_databases, secrets),
        settings=settings,
        hba=hba,
    )
    redis_as_declared(applied, secrets)


def redis_users(applied: Applied, secrets: Secrets) -> None:
    """Make the running server use its settings and users, whose files the stack has written."""
    redis.server(name="Settings and users of Redis", **_redis(applied, secrets))


def redis_as_declared(applied: Applied, secrets: Secrets) -> None:
    """Check that the server runs with its settings and users."""
    redis.redis(name="Redis is as declared", **_redis(applied, secrets))


def _redis(applied: Applied, secrets: Secrets) -> dict[str, Any]:
    """The server as it is declared, which one operation makes and another checks."""
    server = applied.blueprint.redis
    return {
        "container": REDIS,
        "settings": redis_files.settings(server),
        "acl": redis_files.users_acl(server, applied.redis_indexes, password(secrets, "redis")),
        "user": redis_files.ADMIN,
        "password_file": redis_files.ADMIN_PASSWORD,
    }

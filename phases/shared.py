"""Arguments of operations on shared services and projects, from their declarations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from blueprint import Blueprint, Secrets, clickhouse, litellm, postgres, proxy, redis, scram
from blueprint.applied import Applied
from blueprint.model import ClickHouseData, Database, Service
from blueprint.names import POSTGRES
from blueprint.stacks import Content, Resolver
from operations import postgres as postgres_operations
from operations import stacks as stack_operations
from phases import backup
from phases.hardware.upkeep import TELEGRAM
from specs.postgres import LoginRole, OwnedDatabase
from specs.stacks import ComposeStack

FILES = Path(__file__).resolve().parents[1] / "files"
HBA = FILES / "postgres" / "pg_hba.conf"
REDIS_HEALTH = FILES / "redis" / "health.sh"


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


def databases(blueprint: Blueprint, declared: Iterable[Database], secrets: Secrets) -> list[OwnedDatabase]:
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


def contents(applied: Applied, secrets: Secrets) -> Mapping[str, Mapping[str, Content]]:
    """Content of every mounted file, by stack and by path in the stack's folder, for a host with these phases."""
    blueprint = applied.blueprint
    redis_password = password(secrets, "redis")
    return {
        "postgres": {
            "postgres/postgresql.conf": Content(postgres.postgresql_conf(blueprint.postgres), secret=False),
            "postgres/pg_hba.conf": Content(HBA.read_text(), secret=False),
            "postgres/monitor.pgpass": Content(
                postgres.pgpass(secrets.generated(f"postgres/{postgres.MONITOR}"))
            ),
        },
        "redis": {
            "redis/redis.conf": Content(redis.redis_conf(blueprint.redis), secret=False),
            "redis/users.acl": Content(
                redis.users_acl(blueprint.redis, applied.redis_indexes, redis_password)
            ),
            "redis/admin.password": Content(redis_password(redis.ADMIN)),
            "redis/health.sh": Content(REDIS_HEALTH.read_text(), secret=False),
        },
        "pgbouncer": {
            "pgbouncer/pgbouncer.ini": Content(
                postgres.pgbouncer_ini(blueprint.pgbouncer, applied.databases), secret=False
            ),
            "pgbouncer/userlist.txt": Content(
                postgres.userlist(postgres.verifiers(applied.databases, verifier(secrets)))
            ),
        },
        "proxy": {proxy.ROUTES: Content(proxy.routes_yaml(applied.services), secret=False)},
        "langfuse": {
            clickhouse.LIMITS: Content(
                clickhouse.limits_xml(
                    next(one.memory_mib for one in applied.services if isinstance(one.data, ClickHouseData))
                ),
                secret=False,
            ),
        },
        "litellm": {
            "litellm/config.yaml": Content(
                litellm.config_yaml(blueprint.gateway, blueprint.ollama_instances, pool_limit(blueprint)),
                secret=False,
            ),
            "litellm/declared.json": Content(litellm.guard_json(blueprint.gateway), secret=False),
            **{
                f"litellm/{name}": Content((FILES / "litellm" / name).read_text(), secret=False)
                for name in ("serve.py", "guard/asgi.py", "guard/rules.py")
            },
        },
    }


def pool_limit(blueprint: Blueprint) -> int:
    """Connections of each LiteLLM worker: an equal share of those that bypass PgBouncer."""
    database = next(database for database in blueprint.shared_databases if database.name == "litellm")
    return max(1, database.direct // blueprint.profile.litellm_workers)


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
    postgres_operations.databases(
        name=name,
        container=POSTGRES,
        desired=databases(blueprint, declared, secrets),
        roles=[monitor_role(blueprint, secrets)],
    )


def stack(
    applied: Applied, secrets: Secrets, name: str, uuids: Mapping[str, str] | None = None
) -> ComposeStack:
    """A declared stack as the operation takes it, for a host with these phases.

    :param uuids: full UUID of each card by the declared one, for a stack with containers that have one
    """
    blueprint = applied.blueprint
    declared = next(stack for stack in applied.stacks if stack.name == name)
    declared = replace(
        declared, services=tuple(_completed(blueprint, service) for service in declared.services)
    )
    resolver = Resolver(
        root=blueprint.paths.stacks,
        network=blueprint.coolify_network,
        docker=blueprint.docker,
        secrets=secrets,
        formats=blueprint.generated_secrets,
        uuids=uuids or {},
    )
    return resolver.resolve(declared, contents(applied, secrets).get(name))


def _completed(blueprint: Blueprint, service: Service) -> Service:
    """A service completed by other declarations: the major version of Postgres, the workers of the hardware profile."""
    if service.build == "files/postgres":
        arguments = {"MAJOR": str(blueprint.postgres_major), "PGDG": str(blueprint.postgres_pgdg).lower()}
        return replace(service, build_args=arguments)
    if service.name == blueprint.gateway.container:
        workers = str(blueprint.profile.litellm_workers)
        return replace(service, command=(*service.command, "--num_workers", workers))
    return service


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

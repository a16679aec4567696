"""The Compose stacks of a host, with the content of every mounted file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from blueprint import clickhouse, litellm, postgres, proxy, redis
from blueprint.applied import Applied
from blueprint.host import Blueprint
from blueprint.model import ClickHouseData, Service
from blueprint.roles import password, verifier
from blueprint.secrets import Secrets
from blueprint.stacks import Content, Resolver
from specs.stacks import ComposeStack

FILES = Path(__file__).resolve().parents[1] / "files"
HBA = FILES / "postgres" / "pg_hba.conf"
REDIS_HEALTH = FILES / "redis" / "health.sh"


def stack(
    applied: Applied, secrets: Secrets, name: str, uuids: Mapping[str, str] | None = None
) -> ComposeStack:
    """A declared stack as the operation takes it, for a host with these phases.

    :param uuids: full UUID of each card by the declared one, for a stack with containers that have one
    """
    blueprint = applied.blueprint
    declared = next(stack for stack in applied.stacks if stack.name == name)
    declared = replace(
        declared, services=tuple(completed(blueprint, service) for service in declared.services)
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


def completed(blueprint: Blueprint, service: Service) -> Service:
    """A service completed by other declarations: the major version of Postgres, the workers of the hardware profile."""
    if service.build == "files/postgres":
        arguments = {"MAJOR": str(blueprint.postgres_major), "PGDG": str(blueprint.postgres_pgdg).lower()}
        return replace(service, build_args=arguments)
    if service.name == blueprint.gateway.container:
        workers = str(blueprint.profile.litellm_workers)
        return replace(service, command=(*service.command, "--num_workers", workers))
    return service

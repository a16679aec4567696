"""Phase 3 of the checklist: PgBouncer, dashboards and health checks (requirements 5.3 and 10)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyinfra.api.deploy import deploy

from blueprint import Blueprint, Secrets, postgres
from blueprint.applied import Applied
from blueprint.model import Database
from blueprint.names import POOLER, POSTGRES
from blueprint.phases import MONITORING
from operations import pgbouncer
from phases.backup import backups
from phases.litellm.proxy import proxy
from phases.record import record
from phases.shared import deploy_stacks


@deploy("Phase 3: monitoring")
def monitoring(applied: Applied, secrets: Secrets) -> None:
    """PgBouncer, Bull Board, Flower, Crawl4AI and Uptime Kuma. `post_deploy` registers the monitors."""
    blueprint = applied.blueprint
    backups(applied=applied, secrets=secrets)
    names = [stack.name for stack in applied.stacks_of(MONITORING)]
    deploy_stacks("Containers of PgBouncer, the dashboards and Crawl4AI", applied, secrets, names)
    proxy(applied=applied, secrets=secrets)
    answer_through_pooler(blueprint, applied.databases)
    record(MONITORING, blueprint)


def answer_through_pooler(blueprint: Blueprint, databases: Iterable[Database]) -> None:
    """Check that these databases answer through PgBouncer, as for the projects."""
    pgbouncer.pgbouncer(
        name="Every database answers through PgBouncer", **client_of_pooler(blueprint, databases)
    )


def client_of_pooler(blueprint: Blueprint, databases: Iterable[Database]) -> dict[str, Any]:
    """Arguments of the fact `Answers`: the monitor asks each database for its name, from Postgres' container."""
    return {
        "container": POSTGRES,
        "host": POOLER,
        "port": blueprint.pgbouncer.port,
        "user": postgres.MONITOR,
        "passfile": postgres.PASSFILE,
        "databases": [database.name for database in databases],
    }

"""Undeclared rights in the shared services, reported at the end of every run and never deleted.

A right over what others own ends the run with a report; a harmless one is only reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra import logger
from pyinfra.api.deploy import deploy
from pyinfra.context import host

from blueprint import Secrets, postgres
from blueprint.applied import Applied
from blueprint.model import BucketData
from blueprint.names import KUMA, POSTGRES
from blueprint.phases import LITELLM, MONITORING
from blueprint.roles import owned_databases
from facts.cache import cached_fact
from facts.litellm import Proxy
from facts.postgres import Cluster
from facts.s3 import Storage
from facts.uptime_kuma import Kuma, login
from operations import litellm, postgres_rights, s3, uptime_kuma
from operations.checks import check
from phases.shared import deploy_databases
from specs.problems import Problem

# Of Uptime Kuma.
ADMIN = "admin"


@deploy("Rights")
def rights(applied: Applied, secrets: Secrets) -> None:
    """Repair the declared roles and grants of Postgres first, then check all services for undeclared ones."""
    deploy_databases("Roles and grants of every database", applied.blueprint, secrets, applied.databases)
    no_undeclared_rights(name="No undeclared rights", applied=applied, secrets=secrets)


@check
def no_undeclared_rights(applied: Applied, secrets: Secrets) -> Iterator[Problem]:
    """Report undeclared rights in Postgres, LiteLLM, the object storage and Uptime Kuma; log harmless ones."""
    for found in of_services(applied, secrets):
        if isinstance(found, Problem):
            yield found
        else:
            host.log_styled(found, fg="yellow", log_func=logger.warning)


def of_services(applied: Applied, secrets: Secrets) -> Iterator[Problem | str]:
    """Undeclared rights: a problem each, or a sentence for a harmless one."""
    yield from _postgres(applied, secrets)
    yield from _litellm(applied)
    for service in (service for one in applied.stacks_of(LITELLM) for service in one.services):
        if isinstance(service.data, BucketData):
            storage = cached_fact(Storage, container=service.name, directory=s3.DIRECTORY)
            yield from s3.right_problems(service.name, storage)
            yield from s3.stray_sentences(service.name, [service.data.bucket], storage)
    if MONITORING in applied.phases:
        password = secrets.generated("uptime_kuma/password")
        kuma = cached_fact(Kuma, container=KUMA, required=True, _stdin=[login(ADMIN, password)])
        yield from uptime_kuma.right_problems(kuma, ADMIN, KUMA)
        yield from uptime_kuma.stray_sentences(kuma)


def _postgres(applied: Applied, secrets: Secrets) -> Iterator[Problem | str]:
    blueprint = applied.blueprint
    cluster = cached_fact(Cluster, container=POSTGRES)
    declared, roles = owned_databases(blueprint, blueprint.databases, secrets), [postgres.MONITOR]
    administrators = blueprint.postgres.administrators
    yield from postgres_rights.right_problems(POSTGRES, declared, roles, administrators, cluster)
    yield from postgres_rights.stray_sentences(POSTGRES, declared, roles, administrators, cluster)


def _litellm(applied: Applied) -> Iterator[Problem | str]:
    gateway = applied.blueprint.gateway
    proxy = cached_fact(Proxy, container=gateway.container, port=gateway.port, required=True)
    declared = {team.name: team.key_alias for team in applied.blueprint.teams}
    yield from litellm.right_problems(proxy, declared, gateway.administrators)
    yield from litellm.stray_sentences(proxy, declared)

"""The LiteLLM proxy, and Langfuse, which stores its traces (requirements 3)."""

from __future__ import annotations

from dataclasses import replace

from pyinfra.api.deploy import deploy

from blueprint import Blueprint, Secrets
from blueprint import langfuse as langfuse_blueprint
from blueprint import litellm as litellm_blueprint
from blueprint import redis as redis_files
from blueprint.applied import Applied
from blueprint.model import BucketData
from blueprint.names import LANGFUSE, POSTGRES, REDIS
from blueprint.phases import LITELLM
from operations import langfuse, litellm, s3
from phases.backup import saving
from phases.shared import deploy_stacks


@deploy("LiteLLM")
def gateway(applied: Applied, secrets: Secrets) -> None:
    """Both services, their buckets, and the teams and keys of the projects that the host has."""
    # Separate steps, so that a report names the one that changed.
    deploy_stacks("Containers of Langfuse", applied, secrets, ["langfuse"])
    deploy_stacks("Containers of LiteLLM", applied, secrets, ["litellm"])
    for service in (service for one in applied.stacks_of(LITELLM) for service in one.services):
        if isinstance(service.data, BucketData) and service.port:
            s3.bucket(
                name=f"Bucket {service.data.bucket}",
                bucket=service.data.bucket,
                container=service.name,
                port=service.port,
                access_key=service.data.user,
                secret_key=secrets.generated(service.data.password),
            )
    teams(applied, secrets)
    trace_projects(applied, secrets)


def teams(applied: Applied, secrets: Secrets) -> None:
    """The teams of the projects that the host has, each with its budget and its key."""
    blueprint = applied.blueprint
    how = saving(applied)
    litellm.teams(
        name="Teams and virtual keys",
        container=blueprint.gateway.container,
        port=blueprint.gateway.port,
        desired=litellm_blueprint.keyed_teams(applied.teams, secrets),
        absent=blueprint.removed_teams,
        known=[team.name for team in blueprint.teams],
        remedy="keep it, or remove it with --data remove_teams=NAME",
        before_deletion=replace(how, pieces={POSTGRES: how.pieces[POSTGRES]}),
    )


def trace_projects(applied: Applied, secrets: Secrets) -> None:
    """Create a project and a key pair in Langfuse for LiteLLM's callbacks, and for each project that the host has."""
    first = langfuse_blueprint.initial(applied.blueprint.shared_stacks)
    langfuse.projects(
        name="Projects and keys of Langfuse",
        container=LANGFUSE,
        postgres=POSTGRES,
        redis=REDIS,
        redis_user=redis_files.ADMIN,
        redis_password_file=redis_files.ADMIN_PASSWORD,
        redis_index=first.redis_index,
        organisation=first.organisation,
        desired=langfuse_blueprint.trace_projects(first, applied.projects, secrets),
        salt=secrets.generated(first.salt),
    )


def warn_undeclared_traces(blueprint: Blueprint, secrets: Secrets) -> None:
    """Report projects and keys of Langfuse that are not declared."""
    first = langfuse_blueprint.initial(blueprint.shared_stacks)
    pairs = [first.keys, *(project.trace_keys for project in blueprint.projects)]
    langfuse.warn_undeclared(
        name="Undeclared projects and keys of Langfuse",
        container=LANGFUSE,
        postgres=POSTGRES,
        organisation=first.organisation,
        projects=[first.project, *(project.name for project in blueprint.projects)],
        public_keys=[secrets.provided(keys.public) for keys in pairs if secrets.has(keys.public)],
        owner=first.owner,
    )

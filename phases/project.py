"""The phase of a project, the same for all projects (requirements 12, phases 2, 4, 5 and 6).

Steps of a single project are in a file of its name, and hooked in below: before its containers, or after them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from pyinfra.api.deploy import deploy

from blueprint import Secrets
from blueprint.applied import Applied
from blueprint.compose import stack
from blueprint.model import Project
from blueprint.names import POSTGRES
from blueprint.phases import LITELLM, MONITORING
from operations import postgres, stacks
from phases import augmenter, voicejury
from phases.backup import backups, saving
from phases.cards import with_cards
from phases.litellm.datastores import redis_users
from phases.litellm.gateway import teams, trace_projects
from phases.litellm.proxy import proxy
from phases.monitoring import answer_through_pooler
from phases.phase import Phase
from phases.record import record
from phases.shared import containers, deploy_databases, deploy_stacks, provided_secrets

Hook = Callable[[Applied, Secrets, Project], None]

# By the project's phase. Before its containers are touched, its databases exist already.
BEFORE_CONTAINERS: Mapping[str, Hook] = {
    "augmenter": augmenter.before_containers,
    "voicejury": voicejury.before_containers,
}
AFTER_CONTAINERS: Mapping[str, Hook] = {
    "augmenter": augmenter.after_containers,
    "voicejury": voicejury.after_containers,
}


def phase_of(project: Project) -> Phase:
    """The phase of a project."""

    @deploy(f"Phase {project.number}: {project.phase}")
    def apply(applied: Applied, secrets: Secrets) -> None:
        _apply(applied, secrets, project)

    return Phase(
        project.number,
        project.phase,
        project.phase,
        apply,
        partial(containers, phase=project.phase),
        depends_on=(LITELLM, MONITORING),
        summary=f"the containers of {project.name}",
        provided_secrets=partial(provided_secrets, phase=project.phase),
    )


def _apply(applied: Applied, secrets: Secrets, project: Project) -> None:
    """The project's part of the shared services, then its containers."""
    blueprint = applied.blueprint
    backups(applied=applied, secrets=secrets)
    _data(applied, secrets, project)
    deploy_stacks("Users of Redis", applied, secrets, ["redis"])
    redis_users(applied, secrets)
    teams(applied, secrets)
    trace_projects(applied, secrets)
    if step := BEFORE_CONTAINERS.get(project.phase):
        step(applied, secrets, project)
    _containers(applied, secrets, project)
    proxy(applied=applied, secrets=secrets)
    answer_through_pooler(blueprint, project.databases)
    if step := AFTER_CONTAINERS.get(project.phase):
        step(applied, secrets, project)
    record(project.phase, blueprint)


def _data(applied: Applied, secrets: Secrets, project: Project) -> None:
    deploy_databases("Databases and roles", applied.blueprint, secrets, project.databases)
    for database in project.databases:
        if database.schema:
            postgres.schema(
                name=f"Schema of {database.name}",
                container=POSTGRES,
                database=database.name,
                owner=database.role,
                sql_file=database.schema,
            )


def _containers(applied: Applied, secrets: Secrets, project: Project) -> None:
    """Containers of the platform that are configured with every project, then the project's own."""
    names = [one.name for one in (*applied.stacks_of(MONITORING), *applied.stacks_of(project.phase))]
    with_cards(
        name=f"Containers of {project.name}, of PgBouncer and of the dashboards",
        blueprint=applied.blueprint,
        step=lambda uuids: stacks.up._inner(
            root=applied.blueprint.paths.stacks,
            stacks=[stack(applied, secrets, name, uuids) for name in names],
            timeout_s=900,
            before_recreate=saving(applied),
        ),
    )

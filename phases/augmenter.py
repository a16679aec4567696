"""What only augmenter.PRO has: servers of its own before, and tables with vectors (requirements 5.4 and 12)."""

from __future__ import annotations

from blueprint import Secrets
from blueprint.applied import Applied
from blueprint.model import Project
from blueprint.names import POSTGRES
from operations import postgres
from operations.postgres import VectorColumn
from phases.adoption import remove_replaced, report_orphans, take_over


def before_containers(applied: Applied, secrets: Secrets, project: Project) -> None:
    """Steps 1, 2 and 5 of the checklist: the servers that it had of its own, and what Nango's needs."""
    take_over(blueprint=applied.blueprint, predecessors=project.predecessors)


def after_containers(applied: Applied, secrets: Secrets, project: Project) -> None:
    """Say where a table with vectors lacks what searches in it need; the application makes it, no run does."""
    for database in project.databases:
        if database.vectors:
            postgres.report_vectors(
                name=f"Vectors of {database.name}",
                container=POSTGRES,
                database=database.name,
                desired=[VectorColumn(**vars(column)) for column in database.vectors],
            )
    # Steps 4 and 10: what is left over.
    report_orphans(applied.blueprint)
    remove_replaced(applied, (), project.predecessors)  # what was set aside goes with every phase's

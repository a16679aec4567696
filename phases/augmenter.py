"""Steps of augmenter.PRO alone: its previous servers, and tables with vectors (requirements 5.4 and 12)."""

from __future__ import annotations

from blueprint import Secrets
from blueprint.applied import Applied
from blueprint.model import Project
from blueprint.names import POSTGRES
from operations import postgres
from phases.adoption import remove_replaced, report_orphans, take_over


def before_containers(applied: Applied, secrets: Secrets, project: Project) -> None:
    """Steps 1, 2 and 5 of the checklist: take over its previous servers, Nango's among them."""
    take_over(blueprint=applied.blueprint, predecessors=project.predecessors)


def after_containers(applied: Applied, secrets: Secrets, project: Project) -> None:
    """Report columns and indexes that searches for vectors need; the application creates them, no run does."""
    for database in project.databases:
        if database.vectors:
            postgres.report_vectors(
                name=f"Vectors of {database.name}",
                container=POSTGRES,
                database=database.name,
                desired=database.vectors,
            )
    # Steps 4 and 10 of the checklist.
    report_orphans(applied.blueprint)
    remove_replaced(applied, (), project.predecessors)  # each phase removes its renamed containers

"""The end of every run: monitors, watch and first backups of everything that the host has by then.

This runs once a run and not once a phase, because Uptime Kuma is the slowest service to query. The rights are checked
last: an undeclared account does not stop a deployment.
"""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Secrets, kuma
from blueprint.applied import Applied
from blueprint.names import KUMA
from blueprint.phases import LITELLM, MONITORING
from blueprint.stacks import outline
from operations import files, stacks, uptime_kuma
from phases.backup import first_backup
from phases.litellm.gateway import warn_undeclared_traces
from phases.rights import ADMIN, rights
from phases.watch import watch


@deploy("Monitors, watch and backups")
def post_deploy(applied: Applied, secrets: Secrets) -> None:
    """Register all monitors, deploy the watch, wait until every monitor is up, and back up what has no backup."""
    if MONITORING in applied.phases:
        _monitors(applied, secrets)
        watch(applied=applied, secrets=secrets)
    if LITELLM in applied.phases:
        stacks.settled(
            name="Every container has settled",
            root=applied.blueprint.paths.stacks,
            stacks=[outline(applied.blueprint.paths.stacks, stack) for stack in applied.stacks],
        )
    if MONITORING in applied.phases:
        uptime_kuma.all_up(
            name="Every monitor is up",
            container=KUMA,
            username=ADMIN,
            password=secrets.generated("uptime_kuma/password"),
        )
    if LITELLM in applied.phases:
        first_backup(applied)
        warn_undeclared_traces(applied.blueprint, secrets)
        rights(applied=applied, secrets=secrets)


def _monitors(applied: Applied, secrets: Secrets) -> None:
    uptime_kuma.monitors(
        name="Monitors",
        container=KUMA,
        owner="sourcefast",
        monitors=kuma.monitors(applied.monitors, secrets),
        telegram=kuma.telegram(secrets),
        username=ADMIN,
        password=secrets.generated("uptime_kuma/password"),
    )
    files.tree(
        name="Heartbeats of the cron jobs",
        entries=kuma.heartbeats(
            applied.monitors, secrets, f"{applied.blueprint.paths.config}/heartbeats", applied.kuma_port
        ),
    )

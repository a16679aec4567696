"""The web proxy of our domains: Coolify's if it runs, otherwise our own (requirements 11)."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Secrets
from blueprint.applied import Applied
from blueprint.compose import stack
from operations import stacks

STACK = "proxy"


@deploy("Proxy")
def proxy(applied: Applied, secrets: Secrets) -> None:
    """Traefik with the domains of the host's services; each phase that adds some calls this again."""
    declared = next(each for each in applied.stacks if each.name == STACK)
    stacks.up(
        name=f"Containers of the proxy, unless {declared.skip_if_running} runs",
        root=applied.blueprint.paths.stacks,
        stacks=[stack(applied, secrets, STACK)],
        skip_if_running=declared.skip_if_running,
    )

"""Phase 1 of the checklist: the datastores and the LLM gateway (requirements 3, 5 and 6)."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Secrets
from blueprint.applied import Applied
from blueprint.phases import LITELLM
from phases.backup import backups
from phases.litellm.datastores import datastores
from phases.litellm.gateway import gateway
from phases.litellm.proxy import proxy
from phases.record import record


@deploy("Phase 1: litellm")
def litellm(applied: Applied, secrets: Secrets) -> None:
    """Backups, Postgres, Redis, a proxy unless Coolify runs one, Langfuse, and LiteLLM with the host's teams."""
    backups(applied=applied, secrets=secrets)
    datastores(applied=applied, secrets=secrets)
    proxy(applied=applied, secrets=secrets)
    gateway(applied=applied, secrets=secrets)
    record(LITELLM, applied.blueprint)

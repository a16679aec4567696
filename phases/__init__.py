"""The phases of the migration checklist (requirements 12), each after those that it depends on."""

from __future__ import annotations

from functools import partial

from blueprint import Blueprint
from blueprint.phases import HARDWARE, LITELLM, MONITORING, PLATFORM
from phases import hardware, litellm, monitoring
from phases.hardware.upkeep import TELEGRAM
from phases.phase import Phase as Phase
from phases.project import phase_of
from phases.shared import containers, provided_secrets

# The platform, on which every project depends.
PHASES = (
    Phase(
        PLATFORM[HARDWARE],
        HARDWARE,
        "gpu",
        hardware.hardware,
        hardware.running,
        provided_secrets=lambda blueprint: TELEGRAM,
        summary="driver, Docker, firewall, Ollama and whisper",
    ),
    Phase(
        PLATFORM[LITELLM],
        LITELLM,
        "shared",
        litellm.litellm,
        partial(containers, phase=LITELLM),
        depends_on=(HARDWARE,),
        provided_secrets=partial(provided_secrets, phase=LITELLM),
        summary="Postgres, Redis, Langfuse, LiteLLM and a proxy",
    ),
    Phase(
        PLATFORM[MONITORING],
        MONITORING,
        "shared",
        monitoring.monitoring,
        partial(containers, phase=MONITORING),
        depends_on=(LITELLM,),
        provided_secrets=partial(provided_secrets, phase=MONITORING),
        summary="PgBouncer, the dashboards, Uptime Kuma and Crawl4AI",
    ),
)


def phases_of(blueprint: Blueprint) -> tuple[Phase, ...]:
    """All phases that are declared for a host: those of the platform, then a phase for each of its projects."""
    return (*PHASES, *(phase_of(project) for project in blueprint.projects))

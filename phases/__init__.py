"""The phases of the migration checklist (requirements 12), in an order in which each finds what it stands on."""

from __future__ import annotations

from functools import partial

from blueprint import Blueprint
from blueprint.phases import HARDWARE, LITELLM, MONITORING
from phases import hardware, litellm, monitoring
from phases.hardware.upkeep import TELEGRAM
from phases.phase import Phase as Phase
from phases.project import phase_of
from phases.shared import containers, provided

# What every project stands on.
PHASES = (
    Phase(
        0,
        HARDWARE,
        "gpu",
        hardware.hardware,
        hardware.running,
        provided=lambda blueprint: TELEGRAM,
        brings="driver, Docker, firewall, Ollama and whisper",
    ),
    Phase(
        1,
        LITELLM,
        "shared",
        litellm.litellm,
        partial(containers, phase=LITELLM),
        stands_on=(HARDWARE,),
        provided=partial(provided, phase=LITELLM),
        brings="Postgres, Redis, Langfuse, LiteLLM and a proxy",
    ),
    Phase(
        3,
        MONITORING,
        "shared",
        monitoring.monitoring,
        partial(containers, phase=MONITORING),
        stands_on=(LITELLM,),
        provided=partial(provided, phase=MONITORING),
        brings="PgBouncer, the dashboards, Uptime Kuma and Crawl4AI",
    ),
)


def phases_of(blueprint: Blueprint) -> tuple[Phase, ...]:
    """All phases that are declared for a host: those of the platform, then a phase for each of its projects."""
    return (*PHASES, *(phase_of(project) for project in blueprint.projects))

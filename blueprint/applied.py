"""The declarations that apply to a host: a pure function of the phases that it has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from blueprint import monitoring
from blueprint.host import Blueprint
from blueprint.model import Database, Monitor, Project, RedisIndex, Service, Stack, Team
from blueprint.names import KUMA, REDIS
from blueprint.phases import HARDWARE, LITELLM

# Without a monitor of their port: Redis has a monitor that logs in, and Uptime Kuma does not monitor itself.
_EXCLUDED = (REDIS, KUMA)


@dataclass(frozen=True)
class Applied:
    """The declarations of a host that has some of the phases.

    :param blueprint: everything that is declared for it
    :param phases: names of the phases that it has, with the one that a run is applying
    """

    blueprint: Blueprint
    phases: Collection[str]

    @cached_property
    def projects(self) -> tuple[Project, ...]:
        """Projects of these phases, in the order of their numbers."""
        return tuple(project for project in self.blueprint.projects if project.phase in self.phases)

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Shared stacks as these projects need them, then the stacks of the projects."""
        return tuple(
            stack for stack in self.blueprint.stacks_with(self.projects) if stack.phase in self.phases
        )

    def stacks_of(self, phase: str) -> tuple[Stack, ...]:
        """The stacks of a phase, as these projects need them."""
        return tuple(stack for stack in self.stacks if stack.phase == phase)

    @property
    def services(self) -> tuple[Service, ...]:
        """Services of the stacks, in their order."""
        return tuple(service for stack in self.stacks for service in stack.services)

    @property
    def kuma_port(self) -> int:
        """Port of Uptime Kuma on the loopback, for the host's cron jobs."""
        (port,) = (one.publish for one in self.services if one.name == KUMA and one.publish)
        return port

    @cached_property
    def databases(self) -> tuple[Database, ...]:
        """Databases of shared-postgres."""
        return self.blueprint.databases_with(self.projects) if LITELLM in self.phases else ()

    @cached_property
    def redis_indexes(self) -> tuple[RedisIndex, ...]:
        """Indexes of shared-redis, with their users."""
        return self.blueprint.redis_indexes_with(self.projects) if LITELLM in self.phases else ()

    @property
    def teams(self) -> tuple[Team, ...]:
        """Teams of LiteLLM."""
        return tuple(project.team for project in self.projects)

    @cached_property
    def monitors(self) -> tuple[Monitor, ...]:
        """A monitor for each service with a port, each Ollama instance, whisper, and each cron job."""
        # The web monitor covers both our proxy and Coolify's.
        replaceable = (
            service.name for stack in self.stacks if stack.skip_if_running for service in stack.services
        )
        monitors = list(monitoring.service_monitors(self.services, excluded=(*_EXCLUDED, *replaceable)))
        if LITELLM in self.phases:
            monitors += [monitoring.redis_monitor("monitor"), monitoring.web_monitor()]
        if HARDWARE in self.phases:
            monitors += monitoring.ollama_monitors(self.blueprint.ollama_instances)
            monitors.append(monitoring.whisper_monitor(self.blueprint.whisper))
        monitors += monitoring.job_monitors(
            job for job in self.blueprint.cron_jobs if job.phase in self.phases
        )
        return tuple(monitors)

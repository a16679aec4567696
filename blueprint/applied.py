"""What a host has been given so far, of what is declared for it: a pure function of the phases that it has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from blueprint import monitoring
from blueprint.host import Blueprint
from blueprint.model import Database, Monitor, Project, RedisIndex, Service, Stack, Team
from blueprint.names import KUMA, REDIS
from blueprint.phases import HARDWARE, LITELLM

# Asked more than whether their port is open: Redis answers a login, and Uptime Kuma is who asks.
_BESIDES = (REDIS, KUMA)


@dataclass(frozen=True)
class Applied:
    """The declarations that count for a host that has some of the phases.

    :param blueprint: everything that is declared for it
    :param phases: names of the phases that it has, the one that is just brought among them
    """

    blueprint: Blueprint
    phases: Collection[str]

    @cached_property
    def projects(self) -> tuple[Project, ...]:
        """In the order of their numbers."""
        return tuple(project for project in self.blueprint.projects if project.phase in self.phases)

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Shared ones as they are with these projects, then those of the projects."""
        return tuple(
            stack for stack in self.blueprint.stacks_with(self.projects) if stack.phase in self.phases
        )

    def stacks_of(self, phase: str) -> tuple[Stack, ...]:
        """Those that a phase brings, as they are by now."""
        return tuple(stack for stack in self.stacks if stack.phase == phase)

    @property
    def services(self) -> tuple[Service, ...]:
        """Those of the stacks, in their order."""
        return tuple(service for stack in self.stacks for service in stack.services)

    @property
    def kuma_port(self) -> int:
        """Where the host's cron jobs find Uptime Kuma on the loopback."""
        (port,) = (one.publish for one in self.services if one.name == KUMA and one.publish)
        return port

    @cached_property
    def databases(self) -> tuple[Database, ...]:
        """Of shared-postgres."""
        return self.blueprint.databases_with(self.projects) if LITELLM in self.phases else ()

    @cached_property
    def redis_indexes(self) -> tuple[RedisIndex, ...]:
        """Of shared-redis, with the users that there are by now."""
        return self.blueprint.redis_indexes_with(self.projects) if LITELLM in self.phases else ()

    @property
    def teams(self) -> tuple[Team, ...]:
        """In LiteLLM."""
        return tuple(project.team for project in self.projects)

    @cached_property
    def monitors(self) -> tuple[Monitor, ...]:
        """One for each service that can be asked, each Ollama instance, whisper, and each cron job."""
        # Whose proxy it is does not matter.
        replaceable = (
            service.name for stack in self.stacks if stack.skip_if_running for service in stack.services
        )
        wanted = list(monitoring.service_monitors(self.services, besides=(*_BESIDES, *replaceable)))
        if LITELLM in self.phases:
            wanted += [monitoring.redis_monitor("monitor"), monitoring.web_monitor()]
        if HARDWARE in self.phases:
            wanted += monitoring.ollama_monitors(self.blueprint.ollama_instances)
            wanted.append(monitoring.whisper_monitor(self.blueprint.whisper))
        wanted += monitoring.job_monitors(job for job in self.blueprint.cron_jobs if job.phase in self.phases)
        return tuple(wanted)

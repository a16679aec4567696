"""One of the owner's applications (requirements 7, 8 and 9)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from blueprint.model.data_plane import Database, RedisIndex
from blueprint.model.declaration import Declaration, checking
from blueprint.model.llm import Team
from blueprint.model.predecessor import Predecessor
from blueprint.model.service import Service

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"[a-z0-9_-]+(/[a-z0-9_.-]+)+")


class TraceKeys(NamedTuple):
    """Names of the two secrets of a key pair of Langfuse."""

    public: str
    secret: str


@dataclass(frozen=True, kw_only=True)
class Project(Declaration):
    """A project, whole: stack, environment, roles, pools, Redis users, keys, monitors and dashboards follow from it.

    Its services get the contract: an environment with the addresses, logins and keys of everything that is shared
    (`blueprint.projects.contract`). Whoever calls one of these variables otherwise says so in `env_aliases`.

    :param name: its name, that of its stack and of its user in Redis; phase and inventory group have _ for its -
    :param number: of its phase in the checklist
    :param services: its own containers
    :param optional: likewise, but only there when the key `optional_services` names them
    :param standalone_services: containers without the contract: its pages, and software of others
    :param llm: who pays for its calls, with the virtual key
    :param databases: in shared-postgres; its services are connected to the first
    :param redis: indexes of shared-redis; REDIS_URL is the first
    :param broker: of these, the Celery broker, if there is one
    :param results: of these, where Celery's results are
    :param queues: of these, the one with BullMQ's queues
    :param flower: name of the dashboard over its broker, if that is not flower-<name>
    :param ollama: name of the Ollama instance that it speaks to when it passes LiteLLM by (requirements 3.8)
    :param uses_whisper: whether it uses the shared whisper
    :param env_aliases: what its services call variables of the contract, by what these are called there
    :param env: further environment of its services
    :param provided_secrets: likewise, from what others issued: names of secrets that the owner provides
    :param predecessors: servers that it had of its own before, which the shared ones take over
    :param ram_gib: memory of the smallest machine that it is meant for
    :param free_mib: memory that has to be available before it is brought for the first time
    """

    name: str
    number: int
    services: tuple[Service, ...]
    optional: tuple[Service, ...] = ()
    standalone_services: tuple[Service, ...] = ()
    llm: Team | None = None
    databases: tuple[Database, ...] = ()
    redis: tuple[RedisIndex, ...] = ()
    broker: int | None = None
    results: int | None = None
    queues: int | None = None
    flower: str = ""
    ollama: str = "heavy"
    uses_whisper: bool = False
    env_aliases: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str | int] = field(default_factory=dict)
    provided_secrets: Mapping[str, str] = field(default_factory=dict)
    predecessors: tuple[Predecessor, ...] = ()
    ram_gib: int = 0
    free_mib: int = 0

    def __post_init__(self) -> None:
        with checking(f"Project {self.name}") as check:
            expected = "lower-case letters, digits and -, beginning with a letter"
            check.matches("name", self.name, re.compile(r"[a-z][a-z0-9-]*"), expected)
            check.integer("number", self.number, 2, 99, "of a phase")
            check.that(
                isinstance(self.llm, Team), "llm", self.llm, "a Team", "every call is somebody's to pay for"
            )
            check.that(self.services, "services", self.services, "at least one Service")
            listed = {"databases": Database, "redis": RedisIndex, "predecessors": Predecessor}
            for key, of in listed.items():
                for item in getattr(self, key):
                    check.that(isinstance(item, of), key, item, f"a {of.__name__}")
            indexes = {one.index for one in self.redis if isinstance(one, RedisIndex)}
            for predecessor in self.predecessors:
                if isinstance(predecessor, Predecessor):
                    for database in predecessor.databases:
                        owned = [one.name for one in self.databases if isinstance(one, Database)]
                        check.one_of(f"predecessors.{predecessor.container}", database, owned)
            for key in ("broker", "results", "queues"):
                index = getattr(self, key)
                known = ", ".join(map(str, sorted(indexes))) or "it has none"
                check.that(
                    index is None or index in indexes, key, index, f"an index of its own `redis` ({known})"
                )
            check.integer("ram_gib", self.ram_gib, 0, 4096, "GiB")
            check.integer("free_mib", self.free_mib, 0, 4096 * 1024, "MiB")
            check.that(len(indexes) == len(self.redis), "redis", sorted(indexes), "each index once")
            if self.flower:
                check.name("flower", self.flower)
            for key in ("env_aliases", "env", "provided_secrets"):
                for variable in getattr(self, key):
                    check.matches(key, variable, _VARIABLE, "names of environment variables")
            for variable, own in self.env_aliases.items():
                check.matches(
                    f"env_aliases.{variable}", own, _VARIABLE, "the name of an environment variable"
                )
            for variable, secret in self.provided_secrets.items():
                check.matches(
                    f"provided_secrets.{variable}", secret, _SECRET, 'the name of a secret ("groq/api_key")'
                )
            for name, times in _counted(self).items():
                check.that(times == 1, "services", f"{name} {times} times", "names of their own")

    @property
    def phase(self) -> str:
        """Name of the phase that brings it, and of its inventory group."""
        return self.name.replace("-", "_")

    @property
    def redis_user(self) -> str:
        return self.name

    @property
    def team(self) -> Team:
        if self.llm is None:
            raise ValueError(f"{self.name} has no team")  # refused when it was declared
        return self.llm

    @property
    def trace_keys(self) -> TraceKeys:
        """The secrets with the keys of its project in Langfuse."""
        return TraceKeys(f"langfuse/keys/{self.name}/public", f"langfuse/keys/{self.name}/secret")

    @property
    def flower_name(self) -> str:
        return self.flower or f"flower-{self.name}"


def _counted(project: Project) -> dict[str, int]:
    names = [service.name for service in (*project.services, *project.optional, *project.standalone_services)]
    return {name: names.count(name) for name in names}

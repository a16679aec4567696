"""One of the owner's applications (requirements 7, 8 and 9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Annotated, Literal, NamedTuple

from blueprint.model import types
from blueprint.model.datastores import Database, RedisIndex
from blueprint.model.declaration import Conflict, Declaration, conflicts, declaration
from blueprint.model.llm import Team
from blueprint.model.predecessor import Predecessor
from blueprint.model.service import Service, SomeServices
from blueprint.validation import Expected, Whole


class TraceKeys(NamedTuple):
    """Names of the two secrets of a key pair of Langfuse."""

    public: str
    secret: str


@declaration()
class Project(Declaration):
    """A whole project: its stack, environment, roles, pools, Redis users, keys, monitors and dashboards follow.

    Its services get the shared environment: the addresses, logins and keys of everything that is shared
    (`blueprint.projects.SharedServices`). `env_aliases` has a project's other names for these variables.

    :param name: its name, and that of its stack and Redis user; its phase and inventory group have _ for -
    :param number: of its phase in the checklist
    :param services: its own containers
    :param optional: further containers, for hosts whose `optional_services` names them
    :param standalone_services: containers without the shared environment: its pages, and third-party software
    :param team: its team in LiteLLM, with budget and virtual key
    :param databases: in shared-postgres; its services are connected to the first
    :param redis: indexes of shared-redis; REDIS_URL is the first
    :param broker: of these, the Celery broker, if there is one
    :param results: of these, where Celery's results are
    :param queues: of these, the one with BullMQ's queues
    :param flower: name of the dashboard over its broker, if that is not flower-<name>
    :param ollama: name of the Ollama instance that it uses without LiteLLM (requirements 3.8)
    :param uses_whisper: whether it uses the shared whisper
    :param env_aliases: its own names of the shared environment's variables, by the names there
    :param env: further environment of its services
    :param provided_secrets: further environment from secrets that the owner provides, by their names
    :param predecessors: its former servers, whose data the shared ones take over
    :param ram_gib: memory of the smallest machine that it is meant for
    :param free_mib: memory that has to be free before its first deployment
    """

    name: types.PlainName
    number: Annotated[int, Whole(2, 99, "of a phase")]
    services: SomeServices
    optional: tuple[Service, ...] = ()
    standalone_services: tuple[Service, ...] = ()
    team: Annotated[Team, Expected("a Team", "every call is somebody's to pay for")]
    databases: tuple[Database, ...] = ()
    redis: tuple[RedisIndex, ...] = ()
    broker: int | None = None
    results: int | None = None
    queues: int | None = None
    flower: types.HostName | Literal[""] = ""
    ollama: str = "heavy"
    uses_whisper: bool = False
    env_aliases: Mapping[types.EnvName, types.EnvName] = field(default_factory=dict)
    env: Mapping[types.EnvName, types.EnvValue] = field(default_factory=dict)
    provided_secrets: Mapping[types.EnvName, types.SecretName] = field(default_factory=dict)
    predecessors: tuple[Predecessor, ...] = ()
    ram_gib: Annotated[int, Whole(0, 4096, "GiB")] = 0
    free_mib: Annotated[int, Whole(0, 4096 * 1024, "MiB")] = 0

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        indexes = Counter(one.index for one in self.redis)
        known = ", ".join(map(str, sorted(indexes))) or "it has none"
        for key in ("broker", "results", "queues"):
            if (index := getattr(self, key)) is not None and index not in indexes:
                yield Conflict(key, f"an index of its own `redis` ({known})")
        if len(indexes) != len(self.redis):
            yield Conflict("redis", "each index once", str(sorted(indexes.elements())))
        owned = [one.name for one in self.databases]
        for predecessor in self.predecessors:
            for database in (one for one in predecessor.databases if one not in owned):
                expected = f"one of {', '.join(owned)}"
                yield Conflict(f"predecessors.{predecessor.container}", expected, database)
        services = (*self.services, *self.optional, *self.standalone_services)
        for name, times in Counter(service.name for service in services).items():
            if times > 1:
                yield Conflict("services", "names of their own", f"{name} {times} times")

    @property
    def phase(self) -> str:
        """Name of its phase, and of its inventory group."""
        return self.name.replace("-", "_")

    @property
    def redis_user(self) -> str:
        return self.name

    @property
    def trace_keys(self) -> TraceKeys:
        """The secrets with the keys of its project in Langfuse."""
        return TraceKeys(f"langfuse/keys/{self.name}/public", f"langfuse/keys/{self.name}/secret")

    @property
    def flower_name(self) -> str:
        return self.flower or f"flower-{self.name}"

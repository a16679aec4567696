"""Derived from the projects: their stacks and environment, the table of Redis' indexes, and the dashboards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blueprint.model import Database, Gateway, OllamaInstance, PgBouncer, Project, RedisIndex, Service, Stack
from blueprint.model.llm import PROVIDERS
from blueprint.model.types import REDIS_RESERVED
from blueprint.names import BULL_BOARD, FLOWER, POOLER, REDIS
from blueprint.phases import ALL, PLATFORM
from blueprint.problems import Violation, closest
from blueprint.validation import shown

ROOT = Path(__file__).resolve().parent.parent
# Kombu, Celery's transport, prefixes its channels with the index of the broker. It subscribes to patterns, which an ACL
# must have literally: remote control, a dashboard's events, the events among workers.
_CELERY_CHANNELS = ("/{}.*", "/{}.celery.pidbox", "/{}.celeryev/*", "/{}.celeryev/worker.*")
# Celery publishes a result on a channel named after its key, in no index: only the UUID in it makes it unique.
_CELERY_RESULTS = ("celery-task-meta-*", "celery-taskset-meta-*")
_REDIS, _LANGFUSE = f"{REDIS}:6379", "http://langfuse:3000"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Part of a container's environment, in the fields of `Service`."""

    env: Mapping[str, str | int]
    generated_secrets: Mapping[str, str]
    provided_secrets: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class SharedServices:
    """Addresses and settings of everything that projects share.

    :param pooler: before Postgres
    :param gateway: LiteLLM
    :param instances: Ollama's
    :param whisper: address of the recogniser
    :param provider: service that answers prompts: litellm, or ollama, past LiteLLM (requirements 3.8)
    """

    pooler: PgBouncer
    gateway: Gateway
    instances: Sequence[OllamaInstance]
    whisper: str
    provider: str

    def of(self, project: Project) -> Environment:
        """The environment of each service of a project, with the project's own names of variables."""

        def called(variables: Mapping[str, str | None]) -> dict[str, str]:
            return {
                project.env_aliases.get(name, name): value
                for name, value in variables.items()
                if value is not None
            }

        return Environment(
            env={**called(self._addresses(project)), **project.env},
            generated_secrets=called(self._logins(project)),
            provided_secrets={**called(self._provided()), **project.provided_secrets},
        )

    def variables(self, project: Project) -> frozenset[str]:
        """Names of all variables that a project may get."""
        return frozenset({*self._addresses(project), *self._logins(project), *self._provided()})

    def _addresses(self, project: Project) -> dict[str, str | None]:
        own = next((one for one in self.instances if one.name == project.ollama), None)
        return {
            "LLM_PROVIDER": self.provider,
            "LITELLM_URL": f"http://litellm:{self.gateway.port}" if self._through_litellm else None,
            "OLLAMA_HOST": _ollama(own) if own else None,
            "OLLAMA_MODEL": own.model if own else None,
            **{f"OLLAMA_{one.name.upper()}_URL": _ollama(one) for one in self.instances},
            "LANGFUSE_HOST": _LANGFUSE,
            "WHISPER_URL": self.whisper if project.uses_whisper else None,
        }

    def _logins(self, project: Project) -> dict[str, str | None]:
        """Variables with names of secrets, in braces where a secret is a part of an address."""
        index = project.redis[0].index if project.redis else None

        def postgres(host: str, port: int) -> str | None:
            return _postgres(project.databases[0], host, port) if project.databases else None

        def redis(number: int | None) -> str | None:
            return None if number is None else redis_url(project.redis_user, number)

        return {
            "DATABASE_URL": postgres(POOLER, self.pooler.port),
            "DIRECT_DATABASE_URL": postgres(self.pooler.host, self.pooler.host_port),
            "REDIS_URL": redis(index),
            "CELERY_BROKER_URL": redis(project.broker),
            "CELERY_RESULT_BACKEND": redis(project.results),
            "LITELLM_API_KEY": project.team.key_secret if self._through_litellm else None,
            "LANGFUSE_PUBLIC_KEY": project.trace_keys.public,
            "LANGFUSE_SECRET_KEY": project.trace_keys.secret,
        }

    def _provided(self) -> dict[str, str | None]:
        """Fallback of Ollama for projects that bypass LiteLLM."""
        groq = PROVIDERS["groq"]
        return {groq.key_variable: None if self._through_litellm else groq.key_secret}

    @property
    def _through_litellm(self) -> bool:
        return self.provider == "litellm"

    def stack(self, project: Project, optional: Collection[str] = ()) -> Stack:
        """A project's Compose project.

        :param optional: names of the selected optional services
        """
        environment = self.of(project)
        selected = (*project.services, *(one for one in project.optional if one.name in optional))
        indexes = tuple(
            index.index for index in project.redis if project.redis_user in _users(project, index)
        )
        services = tuple(
            replace(
                service,
                env={**environment.env, **({"PORT": service.port} if service.port else {}), **service.env},
                generated_secrets={**environment.generated_secrets, **service.generated_secrets},
                provided_secrets={**environment.provided_secrets, **service.provided_secrets},
                host_gateway=True,
                database=project.databases[0].name if project.databases else None,
                redis=indexes,
                redis_user=project.redis_user if indexes else None,
            )
            for service in selected
        )
        return Stack(
            name=project.name, phase=project.phase, services=(*services, *project.standalone_services)
        )


def redis_table(shared: Sequence[RedisIndex], projects: Sequence[Project]) -> tuple[RedisIndex, ...]:
    """The table of all indexes with their users and those of the dashboards, a shared index once."""
    table: dict[int, RedisIndex] = {index.index: index for index in shared}
    for project in projects:
        for index in project.redis:
            entry = table.get(index.index, RedisIndex(index.index, index.usage))
            celery = _CELERY_CHANNELS if project.broker == index.index else ()
            table[index.index] = RedisIndex(
                index.index,
                "; ".join(dict.fromkeys((entry.usage, index.usage))),
                _union(entry.users, _users(project, index)),
                channels=_union(
                    entry.channels, index.channels, (channel.format(index.index) for channel in celery)
                ),
                named_channels=_union(
                    entry.named_channels,
                    index.named_channels,
                    _CELERY_RESULTS if project.results == index.index else (),
                ),
            )
    return tuple(table[number] for number in sorted(table))


def dashboards(bull_board: Service, flower: Service, projects: Sequence[Project]) -> tuple[Service, ...]:
    """Bull Board for all queues of these projects, if there are any, and a Flower for each broker.

    :param bull_board: its declaration
    :param flower: the declaration of each Flower
    """
    queues = {project.queues: project.name for project in projects if project.queues is not None}
    found = []
    if queues:
        databases = ",".join(f"{index}={name}" for index, name in sorted(queues.items()))
        env = {**bull_board.env, "REDIS_USERNAME": BULL_BOARD, "REDIS_DATABASES": databases}
        secrets = {**bull_board.generated_secrets, "REDIS_PASSWORD": f"redis/{BULL_BOARD}"}
        found.append(
            replace(
                bull_board,
                env=env,
                generated_secrets=secrets,
                redis=tuple(sorted(queues)),
                redis_user=BULL_BOARD,
            )
        )
    for project in projects:
        if project.broker is not None:
            name = project.flower_name
            found.append(
                replace(
                    flower,
                    name=name,
                    domain=flower.domain and f"{name}.{flower.domain.partition('.')[2]}",
                    generated_secrets={
                        **flower.generated_secrets,
                        "CELERY_BROKER_URL": redis_url(FLOWER, project.broker),
                    },
                    redis=(project.broker,),
                    redis_user=FLOWER,
                )
            )
    return tuple(found)


def redis_url(user: str, index: int) -> str:
    """Address of an index for a user, with the password's secret in braces."""
    return f"redis://{user}:{{redis/{user}}}@{_REDIS}/{index}"


def project_problems(
    projects: Sequence[Project],
    shared: Sequence[RedisIndex],
    shared_services: SharedServices,
    optional: Collection[str],
    files: Mapping[str, str],
) -> Iterator[Violation]:
    """Problems of the projects together, and with what they share.

    :param shared: indexes of Redis that belong to no project
    :param optional: names of the selected optional services
    :param files: the file in which each key of group_data/ is declared
    """

    def problem(project: Project, item: str, found: object, expected: str, remedy: str = "") -> Violation:
        return Violation(
            files.get(project.phase, "group_data/"), f"{project.phase}.{item}", str(found), expected, remedy
        )

    instances = [instance.name for instance in shared_services.instances]
    reserved = {ALL, *PLATFORM}
    taken = {*REDIS_RESERVED, BULL_BOARD, FLOWER, *(user for index in shared for user in index.users)}
    numbers = Counter(project.number for project in projects)
    for project in projects:
        if project.phase in reserved:
            yield problem(
                project, "name", repr(project.name), "another name than a phase of the platform has"
            )
        elif project.redis_user in taken:
            yield problem(project, "name", repr(project.name), "another name than a user of Redis has")
        if numbers[project.number] > 1 or project.number in PLATFORM.values():
            yield problem(project, "number", project.number, "a number that no other phase has")
        if project.ollama not in instances:
            hint = closest(project.ollama, instances)
            yield problem(project, "ollama", repr(project.ollama), f"one of {', '.join(instances)}", hint)
        for name in project.env_aliases.keys() - shared_services.variables(project):
            known = sorted(shared_services.variables(project))
            yield problem(project, "env_aliases", name, f"one of {', '.join(known)}", closest(name, known))
        # Some variables depend on the provider, such as Groq's key.
        called = Counter(project.env_aliases.get(name, name) for name in shared_services.variables(project))
        for name in (name for name, count in called.items() if count > 1):
            yield problem(project, "env_aliases", f"{name} for two variables", "a name of its own for each")
        for predecessor in project.predecessors:
            for file in predecessor.after.values():
                if not (ROOT / file).is_file():
                    item = f"predecessors.{predecessor.container}.after"
                    yield problem(project, item, file, "an existing file")
        for database in project.databases:
            if database.schema and not (ROOT / database.schema).is_file():
                yield problem(
                    project, f"databases.{database.name}.schema", database.schema, "an existing file"
                )
        yield from (
            problem(project, f"redis.{number}", found, expected)
            for number, found, expected in _claims(project, projects, shared)
        )
    known = [service.name for project in projects for service in project.optional]
    for name in optional:
        if name not in known:
            expected = (
                f"one of {', '.join(known)}" if known else "left out: no project has an optional service"
            )
            yield Violation(
                files.get("optional_services", "host data"), "optional_services", shown(name), expected
            )


def too_small(
    project: Project, ram_gib: int, profile: str, limits_mib: Mapping[str, int]
) -> Violation | None:
    """A problem, with its arithmetic, where the machine has less memory than a project needs.

    :param ram_gib: memory of the machine
    :param profile: its hardware profile
    :param limits_mib: sum of the memory limits of each stack
    """
    if ram_gib >= project.ram_gib:
        return None
    own = limits_mib.get(project.name, 0)
    others = sum(limits_mib.values()) - own
    return Violation(
        f"group_data/{project.phase}.py",
        "memory",
        f"{ram_gib} GiB ({profile}): the limits of everything else add up to {others} MiB, its own to {own} MiB",
        f"at least {project.ram_gib} GiB for {project.name}",
        "upgrade the machine, or accept it with --data allow_small_machine=true",
    )


def _claims(
    project: Project, projects: Iterable[Project], shared: Iterable[RedisIndex]
) -> Iterator[tuple[int, str, str]]:
    """Indexes of a project that belong to another one and are not declared as shared."""
    owners = {index.index: ", ".join(index.users) for index in shared}
    for index in project.redis:
        if index.index in owners:
            yield index.index, f"that of {owners[index.index]}", "an index of its own"
        for other in projects:
            theirs = next((one for one in other.redis if one.index == index.index), None)
            if other is project or theirs is None:
                continue
            if other.name not in index.shared_with or project.name not in theirs.shared_with:
                yield (
                    index.index,
                    f"that of {other.name} ({theirs.usage})",
                    "an index of its own, or one of which both say that they share it (shared_with)",
                )


def _union(*each: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for some in each for one in some))


def _users(project: Project, index: RedisIndex) -> tuple[str, ...]:
    lookers = ((BULL_BOARD, project.queues), (FLOWER, project.broker))
    return (
        *(index.users or (project.redis_user,)),
        *(user for user, watched in lookers if watched == index.index),
    )


def _postgres(database: Database, host: str, port: int) -> str:
    return f"postgresql://{database.role}:{{postgres/{database.role}}}@{host}:{port}/{database.name}"


def _ollama(instance: OllamaInstance) -> str:
    return f"http://host.docker.internal:{instance.port}"

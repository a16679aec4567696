"""The whole of a host's declarations: typed, checked against each other, with what follows from them."""

from __future__ import annotations

import re
import types
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Self, get_args, get_origin, get_type_hints

from blueprint import litellm, postgres
from blueprint.disk import DiskBudget, DiskUse, size_mib
from blueprint.gpus import Card, meant_by, resolve_gpus
from blueprint.memory import MemoryBudget, memory_budget
from blueprint.model import (
    AptRepository,
    Backups,
    CronJob,
    Database,
    Declaration,
    DockerSettings,
    Gateway,
    GeneratedSecret,
    Gpu,
    HardwareProfile,
    OllamaInstance,
    OllamaModel,
    OllamaRelease,
    Paths,
    PgBouncer,
    PostgresServer,
    Project,
    RedisIndex,
    RedisServer,
    Service,
    Stack,
    System,
    Team,
    Thresholds,
    Watch,
    Whisper,
    mebibytes,
)
from blueprint.phases import HARDWARE, MONITORING, SHARED, words
from blueprint.postgres import ConnectionBudget
from blueprint.problems import DeclarationError, Problem, closest
from blueprint.projects import LLM_PROVIDERS, ROOT, Contract, dashboards, project_problems, redis_table
from blueprint.stack_problems import StackChecks, spoken_of
from blueprint.vram import CardBudget, Share, ollama_shares

_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_REGISTRY = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){1,2}")


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """Everything that is declared for one host.

    Each field but the last two is a key of group_data/, where it is documented; `from_data` makes a checked one.

    :param projects: every `Project` of group_data/, in the order of their numbers

    :param sources: the file that each key was taken from, for messages
    """

    # all.py
    phase: str | int | tuple[str | int, ...]
    allow_untested_os: bool
    allow_small_machine: bool
    llm_provider: str
    optional_services: str | tuple[str, ...]
    report: str
    remove: str | tuple[str, ...]
    remove_volumes: bool
    remove_teams: str | tuple[str, ...]
    upgrade_to: str
    postgres_migrate: bool
    databases_left: str | tuple[str, ...]
    remove_migrated: bool
    systems: tuple[System, ...]
    paths: Paths
    swap_gib: int
    swappiness: int
    zram_algorithm: str
    zram_priority: int
    journal_max_mib: int
    system_memory_mib: int
    ollama_memory_mib: int
    image_mib: int
    gpu_image_mib: int
    backup_day_mib: int
    docker: DockerSettings
    docker_minimum: str
    compose_minimum: str
    coolify_network: str
    open_tcp_ports: tuple[int, ...]
    open_udp_ports: tuple[int, ...]
    registry: str
    cron_jobs: tuple[CronJob, ...]
    thresholds: Thresholds
    # gpu.py
    gpus: tuple[Gpu, ...]
    ollama_models: tuple[OllamaModel, ...]
    ollama_instances: tuple[OllamaInstance, ...]
    ollama_gpu_overhead_mib: int
    ollama_version: str
    ollama_sha256: str
    whisper: Whisper
    nvidia_driver_minimum: int
    container_toolkit_repository: AptRepository
    container_toolkit_key_fingerprint: str
    # shared.py
    postgres: PostgresServer
    postgres_major: int
    postgres_pgdg: bool
    shared_databases: tuple[Database, ...]
    pgbouncer: PgBouncer
    redis: RedisServer
    shared_redis_indexes: tuple[RedisIndex, ...]
    gateway: Gateway
    secret_formats: tuple[GeneratedSecret, ...]
    shared_stacks: tuple[Stack, ...]
    bull_board: Service
    flower: Service
    backups: Backups
    watch: Watch
    # the environment, and the profile that it names
    hardware_profile: str
    profile: HardwareProfile

    projects: tuple[Project, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_data(cls, data: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> Self:
        """The checked whole.

        :param data: all keys and their values, whatever group they come from
        :param sources: the file that each key comes from
        :raises DeclarationError: with all problems that can be seen at once
        """
        sources = sources or {}
        problems = [*unknown_keys(data, sources), *_missing_keys(data), *_wrong_types(data, sources)]
        if problems:
            raise DeclarationError(problems)
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in data.items()
            if key in KEYS
        }
        found = (value for value in data.values() if isinstance(value, Project))
        projects = tuple(sorted(found, key=lambda project: project.number))
        blueprint = cls(**values, projects=projects, sources=sources)
        if problems := blueprint.problems():
            raise DeclarationError(problems)
        return blueprint

    # what follows

    @property
    def removed(self) -> tuple[str, ...]:
        """Stacks and containers that are to go."""
        return words(self.remove)

    @property
    def left_behind(self) -> tuple[str, ...]:
        """Databases of old servers that are not taken over."""
        return words(self.databases_left)

    @property
    def removed_teams(self) -> tuple[str, ...]:
        """Teams of LiteLLM that are to go."""
        return words(self.remove_teams)

    @property
    def ollama_release(self) -> OllamaRelease:
        """The archive that is installed."""
        return OllamaRelease(version=self.ollama_version, sha256=self.ollama_sha256)

    def stacks_of(self, phase: str) -> tuple[Stack, ...]:
        """The stacks that a phase brings, in their order."""
        return tuple(stack for stack in self.stacks if stack.phase == phase)

    def stacks_with(self, given: Sequence[Project]) -> tuple[Stack, ...]:
        """The shared stacks as they are with some of the projects, and the stacks of these."""
        shown = dashboards(self.bull_board, self.flower, given)
        return (
            *(
                replace(stack, services=(*stack.services, *shown)) if stack.name == MONITORING else stack
                for stack in self.shared_stacks
            ),
            *(self._stack_of(project) for project in given),
        )

    def _stack_of(self, project: Project) -> Stack:
        try:
            return self.contract.stack(project, words(self.optional_services))
        except DeclarationError as error:  # what its services are told and what they declare do not agree
            raise error.in_file(self._file(project.phase)) from None

    def redis_indexes_with(self, given: Sequence[Project]) -> tuple[RedisIndex, ...]:
        """The table of Redis' indexes with those of some projects."""
        return redis_table(self.shared_redis_indexes, given)

    def databases_with(self, given: Sequence[Project]) -> tuple[Database, ...]:
        """The shared databases, and those of some projects."""
        return (*self.shared_databases, *(database for project in given for database in project.databases))

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Everything that is declared for the host."""
        return self.stacks_with(self.projects)

    @cached_property
    def redis_indexes(self) -> tuple[RedisIndex, ...]:
        """The whole table of Redis' indexes."""
        return self.redis_indexes_with(self.projects)

    @cached_property
    def databases(self) -> tuple[Database, ...]:
        """All databases of shared-postgres."""
        return self.databases_with(self.projects)

    @property
    def teams(self) -> tuple[Team, ...]:
        """Those of the projects."""
        return tuple(project.team for project in self.projects)

    @property
    def contract(self) -> Contract:
        """Where everything is that projects share."""
        return Contract(
            pooler=self.pgbouncer,
            gateway=self.gateway,
            instances=self.ollama_instances,
            whisper=self.whisper.url,
            provider=self.llm_provider,
        )

    def instance(self, name: str) -> OllamaInstance:
        """The Ollama instance of that name."""
        return next(instance for instance in self.ollama_instances if instance.name == name)

    def model_of(self, instance: OllamaInstance) -> OllamaModel:
        """The model that an instance keeps resident."""
        return next(model for model in self.ollama_models if model.name == instance.model)

    def gives_way(self, instance: OllamaInstance) -> bool:
        """Whether a container takes turns with an instance on its card (notes 4.2)."""
        return any(service.unloads == instance.name for service in self._services())

    def gpu_of(self, consumer: OllamaInstance | Whisper | Service) -> Gpu:
        """The declared card of an instance, of whisper, or of a container that has one."""
        return meant_by(consumer.gpu or "", self.gpus)[0]

    def parallel_of(self, instance: OllamaInstance) -> int:
        """Requests that an instance answers at once, from the hardware profile."""
        return self.profile.ollama_parallel[instance.name]

    def resolve_gpus(self, actual: Sequence[Card]) -> dict[str, Card]:
        """The machine's card for each declared one, by the declared UUID. See `gpus.resolve_gpus`."""
        return resolve_gpus(self.gpus, actual, self._file("gpus"))

    def system(self, os_id: str, version: str) -> System | None:
        """What is declared for an operating system, by its /etc/os-release; None for an unknown one."""
        for system in self.systems:
            if (system.id, system.version) == (os_id, version):
                return system
        return None

    @cached_property
    def vram(self) -> tuple[CardBudget, ...]:
        """What each card has to hold, in the order of the cards."""
        return tuple(self._card_budget(gpu) for gpu in self.gpus)

    def memory_budget(self, physical_mib: int | None = None) -> MemoryBudget:
        """What the memory has to hold.

        :param physical_mib: memory that the machine really has; the profile's where nobody asked it
        """
        return memory_budget(
            stacks=self.stacks,
            instances=self.ollama_instances,
            whisper=self.whisper,
            profile=self.profile,
            system_mib=self.system_memory_mib,
            ollama_mib=self.ollama_memory_mib,
            physical_mib=physical_mib,
        )

    def disk_budget(self, size_mib: int | None = None) -> DiskBudget:
        """What the disk has to hold.

        :param size_mib: of the disk that is really there; the profile's where nobody asked it
        """
        return DiskBudget(tuple(self._disk_uses()), size_mib or self.profile.disk_gib * 1024)

    @cached_property
    def connections(self) -> ConnectionBudget:
        """Who may open how many connections to Postgres."""
        return ConnectionBudget(self.postgres, self.databases)

    def tight(self) -> list[str]:
        """What fits, and leaves little: for the report at the end of a run."""
        return [
            *self.memory_budget().tight(),
            *self._less_than_asked(),
            *(sentence for card in self.vram for sentence in card.tight()),
            *self.connections.tight(),
            *self.disk_budget().tight(),
        ]

    def _less_than_asked(self) -> Iterator[str]:
        less = [
            f"{service.name} {service.memory_mib} of {mebibytes(service.asked_memory)}"
            for service in self._services()
            if service.asked_memory and service.memory_mib < mebibytes(service.asked_memory)
        ]
        if less:
            yield f"memory below what the makers of a program ask for, in MiB: {', '.join(less)}"

    def _services(self) -> Iterator[Service]:
        for stack in self.stacks:
            yield from stack.services

    def _card_budget(self, gpu: Gpu) -> CardBudget:
        instances = [instance for instance in self.ollama_instances if self.gpu_of(instance) == gpu]
        containers = [service for service in self._services() if service.gpu and meant_by(service.gpu, [gpu])]
        unloaded = {service.unloads for service in containers}

        def shares(instances: Sequence[OllamaInstance], containers: Sequence[Service]) -> Iterator[Share]:
            for instance in instances:
                yield from ollama_shares(instance, self.model_of(instance), self.parallel_of(instance))
            if instances:
                yield Share("Ollama's overhead", self.ollama_gpu_overhead_mib, "OLLAMA_GPU_OVERHEAD")
            if self.gpu_of(self.whisper) == gpu:
                yield Share(
                    "whisper", self.whisper.vram_mib, f"{self.whisper.model} {self.whisper.quantization}"
                )
            for service in containers:
                yield Share(service.name, service.vram_mib or 0, "while it works")

        # Who unloads nothing may be at work at any time.
        always = [service for service in containers if service.unloads is None]
        left = [instance for instance in instances if instance.name not in unloaded]
        return CardBudget(
            gpu,
            tuple(shares(instances, always)),
            tuple(shares(left, containers)) if unloaded - {None} else (),
        )

    def _disk_uses(self) -> Iterator[DiskUse]:
        swap = self.swap_gib * 1024
        yield DiskUse("swap", swap, f"{self.swap_gib} GiB of swap_gib", certain=True)
        models = {model.name: model for model in map(self.model_of, self.ollama_instances)}
        weights = sum(model.weights_mib for model in models.values())
        yield DiskUse("models", weights, f"weights of {', '.join(models)}", certain=True)
        images = {self.whisper.image, *(service.image for service in self._services())}
        cuda = len({self.whisper.image, *(service.image for service in self._services() if service.gpu)})
        plain = len(images) - cuda
        yield DiskUse(
            "images",
            plain * self.image_mib + cuda * self.gpu_image_mib,
            f"estimate: {plain} x {self.image_mib} + {cuda} with CUDA x {self.gpu_image_mib}",
        )
        days = self.backups.retention_days
        yield DiskUse(
            "backups",
            (days + 1) * self.backup_day_mib,
            f"estimate: {days} days and what the restore test unpacks x {self.backup_day_mib}",
        )
        cache = self.docker.build_cache
        yield DiskUse("build cache", size_mib(cache), f"ceiling: build_cache {cache}")
        containers = sum(1 for _ in self._services()) + 1
        size, files = self.docker.log_max_size, self.docker.log_max_file
        yield DiskUse(
            "container logs",
            containers * files * size_mib(size),
            f"ceiling: {containers} containers x {files} files x {size}",
        )
        yield DiskUse("journal", self.journal_max_mib, "ceiling: journal_max_mib")
        room = self.thresholds.disk_free_gib * 1024
        yield DiskUse("room to work", room, "thresholds.disk_free_gib, free before each phase")

    # what must agree

    def problems(self) -> list[Problem]:
        """Everything that no single declaration can see: references, duplicates, ranges, budgets, collisions."""
        problems = [
            *self._out_of_range(),
            *self._duplicates(),
            *self._references(),
            *self._profile_problems(),
            *self._cron_problems(),
            *project_problems(
                self.projects,
                self.shared_redis_indexes,
                self.contract,
                words(self.optional_services),
                self.sources,
            ),
            *self._watch_problems(),
            *self._shared_problems(),
            *self._removal_problems(),
        ]
        # A card's budget means nothing while an instance's card, model or share of requests is unknown.
        return problems or list(self._budget_problems())

    def _file(self, key: str) -> str:
        return self.sources.get(key, "host data")

    @property
    def _stack_files(self) -> dict[str, str]:
        """Where the stacks of projects are declared, by name."""
        return {project.name: self._file(project.phase) for project in self.projects}

    def _problem(self, key: str, item: str, found: object, wanted: str, mend: str = "") -> Problem:
        return Problem(self._file(key), f"{key}.{item}" if item else key, str(found), wanted, mend)

    def _out_of_range(self) -> Iterator[Problem]:
        ranges = {
            "swap_gib": (0, 1024, "GiB"),
            "swappiness": (0, 200, "vm.swappiness"),
            "zram_priority": (-1, 32767, "a swap priority"),
            "journal_max_mib": (16, 1024 * 1024, "MiB"),
            "system_memory_mib": (0, 1024 * 1024, "MiB"),
            "ollama_memory_mib": (0, 1024 * 1024, "MiB"),
            "image_mib": (1, 1024 * 1024, "MiB"),
            "gpu_image_mib": (1, 1024 * 1024, "MiB"),
            "backup_day_mib": (0, 1024 * 1024, "MiB"),
            "postgres_major": (13, 99, "a major version of Postgres"),
            "ollama_gpu_overhead_mib": (0, 65536, "MiB"),
            "nvidia_driver_minimum": (550, 9999, "Ollama needs 550"),
        }
        for key, (least, most, unit) in ranges.items():
            value = getattr(self, key)
            if not least <= value <= most:
                yield self._problem(key, "", value, f"from {least} to {most} ({unit})")
        for key in ("open_tcp_ports", "open_udp_ports"):
            for port in getattr(self, key):
                if not 1 <= port <= 65535:
                    yield self._problem(key, "", port, "ports from 1 to 65535")
        if not _NAME.fullmatch(self.coolify_network):
            wanted = "a name of lower-case letters, digits, - and _"
            yield self._problem("coolify_network", "", repr(self.coolify_network), wanted)
        if not _REGISTRY.fullmatch(self.registry):
            yield self._problem(
                "registry", "", repr(self.registry), "the host name of a registry, such as ghcr.io"
            )
        if self.llm_provider not in LLM_PROVIDERS:
            wanted = f"one of {', '.join(LLM_PROVIDERS)}"
            hint = closest(self.llm_provider, LLM_PROVIDERS)
            yield self._problem("llm_provider", "", repr(self.llm_provider), wanted, hint)
        if self.zram_algorithm not in (algorithms := ("lz4", "lzo", "lzo-rle", "zstd")):
            yield self._problem(
                "zram_algorithm", "", repr(self.zram_algorithm), f"one of {', '.join(algorithms)}"
            )
        for key in ("docker_minimum", "compose_minimum"):
            if not _VERSION.fullmatch(getattr(self, key)):
                yield self._problem(key, "", repr(getattr(self, key)), 'a version such as "24.0"')
        if not _FINGERPRINT.fullmatch(self.container_toolkit_key_fingerprint):
            yield self._problem(
                "container_toolkit_key_fingerprint",
                "",
                repr(self.container_toolkit_key_fingerprint),
                "40 upper-case hexadecimal digits",
            )
        try:
            _ = self.ollama_release
        except DeclarationError as error:
            for problem in error.problems:
                key = problem.key.replace("ollama_release.", "ollama_")
                yield Problem(self._file(key), key, problem.found, problem.wanted)

    def _duplicates(self) -> Iterator[Problem]:
        for key, attribute in {
            "gpus": "bus",
            "ollama_models": "name",
            "ollama_instances": "name",
            "cron_jobs": "name",
            "shared_redis_indexes": "index",
            "secret_formats": "name",
        }.items():
            counts = Counter(getattr(item, attribute) for item in getattr(self, key))
            for value in (value for value, count in counts.items() if count > 1):
                yield self._problem(key, f"{value}.{attribute}", f"{value} more than once", "declared once")
        for first, second in combinations(self.gpus, 2):
            if second in meant_by(first.uuid, [second]):
                yield self._problem(
                    "gpus",
                    f"{second.uuid}.uuid",
                    second.uuid,
                    f"another card than {first.uuid} ({first.bus})",
                )
        users: dict[int, str] = {}
        for key, item, port in [
            *(("ollama_instances", instance.name, instance.port) for instance in self.ollama_instances),
            ("whisper", "", self.whisper.port),
        ]:
            name = f"{item}.port" if item else "port"
            if port in users:
                yield self._problem(key, name, port, f"a port of its own; {users[port]} has this one")
            elif port in self.open_tcp_ports:
                yield self._problem(key, name, port, "a port that open_tcp_ports does not open to the world")
            users.setdefault(port, item or key)

    def _references(self) -> Iterator[Problem]:
        cards = ", ".join(gpu.uuid for gpu in self.gpus)
        consumers: list[tuple[str, str, str]] = [
            *(("ollama_instances", f"{one.name}.gpu", one.gpu) for one in self.ollama_instances),
            ("whisper", "gpu", self.whisper.gpu),
        ]
        for key, item, uuid in consumers:
            matches = meant_by(uuid, self.gpus)
            if len(matches) != 1:
                both = " and ".join(gpu.uuid for gpu in matches)
                found = f"{uuid}, the prefix of {both}" if matches else uuid
                yield self._problem(key, item, found, f"exactly one of {cards}")
        yield from self._containers_on_cards(cards)
        models = [model.name for model in self.ollama_models]
        for instance in self.ollama_instances:
            if instance.model not in models:
                yield self._problem(
                    "ollama_instances",
                    f"{instance.name}.model",
                    instance.model,
                    f"one of {', '.join(models)}",
                    closest(instance.model, models) or "declare it in ollama_models",
                )

    def _containers_on_cards(self, cards: str) -> Iterator[Problem]:
        placed = ((stack.name, service) for stack in self.stacks for service in stack.services)
        for name, service in placed:
            if service.gpu is None:
                continue
            file = self._stack_files.get(name, self._file("shared_stacks"))
            key = f"stacks.{name}.{service.name}"
            gpus = meant_by(service.gpu, self.gpus)
            if len(gpus) != 1:
                yield Problem(file, f"{key}.gpu", service.gpu, f"exactly one of {cards}")
                continue
            if service.vram_mib is None:
                yield Problem(file, f"{key}.vram_mib", "missing", "given with gpu, in MiB")
            beside = [
                instance.name for instance in self.ollama_instances if gpus == meant_by(instance.gpu, gpus)
            ]
            if service.unloads is not None and service.unloads not in beside:
                allowed = f"an instance on its card: {', '.join(beside) or 'there is none'}"
                yield Problem(file, f"{key}.unloads", service.unloads, allowed)

    def _profile_problems(self) -> Iterator[Problem]:
        names = {instance.name for instance in self.ollama_instances}
        allowed = ", ".join(sorted(names))
        for name in sorted(names - self.profile.ollama_parallel.keys()):
            yield self._problem("profile", f"ollama_parallel[{name!r}]", "missing", "a number of requests")
        for name in sorted(self.profile.ollama_parallel.keys() - names):
            yield self._problem(
                "profile",
                f"ollama_parallel[{name!r}]",
                "of no instance",
                f"of one of {allowed}",
                closest(name, names),
            )

    def _shared_problems(self) -> Iterator[Problem]:
        ollama = {instance.port: instance.name for instance in self.ollama_instances}
        yield from StackChecks(
            stacks=self.stacks,
            databases=self.databases,
            redis_indexes=self.redis_indexes,
            names={self.whisper.name: "whisper"},
            ports={self.whisper.port: "whisper", **ollama},
            open_tcp_ports=self.open_tcp_ports,
            open_udp_ports=self.open_udp_ports,
            file=self._file("shared_stacks"),
            files=self._stack_files,
        ).problems()
        for stack in self.shared_stacks:
            if stack.phase not in SHARED:
                wanted = f"one of {', '.join(SHARED)}"
                yield self._problem("shared_stacks", f"{stack.name}.phase", repr(stack.phase), wanted)
        yield from spoken_of(self.shared_stacks, self.pgbouncer, self.gateway, self.sources)
        cache = self.gateway.cache
        users = next((one.users for one in self.redis_indexes if one.index == cache.database), ())
        if cache.user not in users:
            wanted = f"an index of {cache.user}; this one is for {', '.join(users) or 'nobody'}"
            yield self._problem("gateway", "cache.database", f"{cache.database} as {cache.user}", wanted)
        declared = [(self._file("shared_databases"), database) for database in self.shared_databases]
        for project in self.projects:
            declared += [(self._file(project.phase), database) for database in project.databases]
        yield from postgres.database_problems(declared)
        yield from self.connections.problems(self._file("postgres"))
        teams = {project.phase: project.team for project in self.projects}
        yield from litellm.problems(self.gateway, teams, self.ollama_instances, self.sources)

    def _watch_problems(self) -> Iterator[Problem]:
        models = [model.name for model in self.gateway.models]
        indexes = [index.index for index in self.redis_indexes]
        for name in set(self.watch.direct_groups) - set(models):
            allowed = f"models of the gateway: {', '.join(models)}"
            yield self._problem("watch", "direct_groups", name, allowed, closest(name, models))
        for index in self.watch.caches.keys() - set(indexes):
            yield self._problem(
                "watch", "caches", index, f"indexes of the table: {', '.join(map(str, indexes))}"
            )

    def _removal_problems(self) -> Iterator[Problem]:
        """What is declared would be brought back by the same run; but where somebody else does it, ours may go."""
        kept = {stack.name: f"stack {stack.name}" for stack in self.stacks if not stack.unless}
        kept |= {
            service.name: f"a container of stack {stack.name}"
            for stack in self.stacks
            if not stack.unless
            for service in stack.services
        }
        teams = {team.name: f"team {team.name}" for team in self.teams}
        for key, names, declared in (
            ("remove", self.removed, kept),
            ("remove_teams", self.removed_teams, teams),
        ):
            for name in names:
                if not _NAME.fullmatch(name):
                    yield self._problem(key, "", repr(name), "names of lower-case letters, digits, - and _")
                elif name in declared:
                    wanted = "the name of something that is not declared"
                    mend = "take its declaration out of group_data/ first"
                    yield self._problem(
                        key, "", f"{name}, which is declared as {declared[name]}", wanted, mend
                    )

    def _cron_problems(self) -> Iterator[Problem]:
        brings = (HARDWARE, *SHARED)
        for job in self.cron_jobs:
            if job.phase not in brings:
                hint = closest(job.phase, brings)
                allowed = f"one of {', '.join(brings)}"
                yield self._problem("cron_jobs", f"{job.name}.phase", repr(job.phase), allowed, hint)
            if not any(ROOT.glob(f"files/*/{job.script}")):
                wanted = f"the name of a script below files/, without its .sh ({job.script})"
                yield self._problem("cron_jobs", f"{job.name}.name", repr(job.name), wanted)
        for first, second in combinations(self.cron_jobs, 2):
            if first.lock_name != second.lock_name and first.overlaps(second):
                yield self._problem(
                    "cron_jobs",
                    f"{second.name}.schedule",
                    f'"{second.schedule}"',
                    f'at another time than {first.name} ("{first.schedule}" for {first.lasts_min} minutes)',
                )

    def _budget_problems(self) -> Iterator[Problem]:
        for card in self.vram:
            if not card.fits:
                yield self._problem(
                    "gpus",
                    card.gpu.uuid,
                    f"asked for {card}",
                    f"asked for at most the {card.gpu.vram_mib} MiB of the {card.gpu.model}",
                    "take a smaller model or context_length, or fewer requests at once (ollama_parallel)",
                )
        machine = f"group_data/{self.profile.name}.py"
        yield from self.memory_budget().problems(machine)
        yield from self.disk_budget().problems(machine)


KEYS: Mapping[str, Any] = {
    key: annotation
    for key, annotation in get_type_hints(Blueprint).items()
    if key not in ("projects", "sources")
}


def plain_keys() -> list[str]:
    """Keys whose value can be written in production.yaml or after --data: no declarations."""
    return [key for key, annotation in KEYS.items() if not _has_declarations(annotation)]


def unknown_keys(data: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[Problem]:
    """A problem for each key that nothing reads, most likely a misspelt one; a project's is its own."""
    for key, value in data.items():
        if isinstance(value, Project):
            if key != value.phase:
                file = sources.get(key, "host data")
                yield Problem(
                    file, key, f"the project {value.name}", f"called {value.phase}, as its phase is"
                )
        elif key not in KEYS:
            yield Problem(
                sources.get(key, "host data"),
                key,
                "not a known key",
                "one that group_data/ documents",
                closest(key, KEYS),
            )


def wrong_type(key: str, value: object, file: str) -> Problem | None:
    """A problem where a value is of another kind than its key's."""
    if _conforms(value, KEYS[key]):
        return None
    return Problem(file, key, repr(value), _describe(KEYS[key]))


def _missing_keys(data: Mapping[str, Any]) -> Iterator[Problem]:
    for key in KEYS.keys() - data.keys():
        yield Problem("group_data/", key, "missing", _describe(KEYS[key]))


def _wrong_types(data: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[Problem]:
    for key in KEYS.keys() & data.keys():
        if problem := wrong_type(key, data[key], sources.get(key, "host data")):
            yield problem


def _has_declarations(annotation: Any) -> bool:
    if arguments := get_args(annotation):
        return any(_has_declarations(argument) for argument in arguments if argument is not ...)
    return isinstance(annotation, type) and issubclass(annotation, Declaration)


def _conforms(value: object, annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is types.UnionType:
        return any(_conforms(value, alternative) for alternative in get_args(annotation))
    if origin is tuple:
        return isinstance(value, list | tuple) and all(
            _conforms(item, get_args(annotation)[0]) for item in value
        )
    if annotation is int:  # True and False are ints to Python, but no numbers to a reader
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation)


def _describe(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is types.UnionType:
        return " or ".join(_describe(alternative) for alternative in get_args(annotation))
    if origin is tuple:
        return f"a list of {_describe(get_args(annotation)[0])}"
    words = {int: "a whole number", str: "text", bool: "true or false"}
    return words.get(annotation, f"a {annotation.__name__}")

"""All declarations of a host, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Literal

from blueprint import langfuse
from blueprint.disk import DiskBudget, DiskUse, size_mib
from blueprint.gpus import Card, matching_gpus, resolve_gpus
from blueprint.memory import MemoryBudget, memory_budget
from blueprint.model import (
    AptRepository,
    BackupPolicy,
    CronJob,
    Database,
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
    types,
)
from blueprint.names import KUMA
from blueprint.phases import MONITORING, words
from blueprint.postgres import ConnectionBudget
from blueprint.problems import DeclarationError
from blueprint.projects import SharedServices, dashboards, redis_table
from blueprint.validation import Whole
from blueprint.vram import CardBudget, Share, ollama_shares


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """Everything that is declared for one host.

    Each field but the last two is a key of group_data/, where it is documented; `keys.checked` makes one.

    :param projects: every `Project` of group_data/, in the order of their numbers
    :param sources: the file that each key was taken from, for messages
    """

    # all.py
    phase: types.Phases
    allow_untested_os: bool
    allow_small_machine: bool
    llm_provider: Literal["litellm", "ollama"]
    optional_services: types.Names
    report: types.OutputPath
    remove: types.Names
    remove_volumes: bool
    remove_teams: types.Names
    upgrade_to: str
    postgres_migrate: bool
    databases_left: types.Names
    empty_databases: types.Names
    remove_migrated: bool
    systems: tuple[System, ...]
    paths: Paths
    swap_gib: Annotated[int, Whole(0, 1024, "GiB")]
    swappiness: Annotated[int, Whole(0, 200, "vm.swappiness")]
    zram_algorithm: Literal["lz4", "lzo", "lzo-rle", "zstd"]
    zram_priority: Annotated[int, Whole(-1, 32767, "a swap priority")]
    journal_max_mib: Annotated[int, Whole(16, 1024 * 1024, "MiB")]
    system_memory_mib: types.ReservedMebibytes
    ollama_memory_mib: types.ReservedMebibytes
    image_mib: types.Mebibytes
    gpu_image_mib: types.Mebibytes
    backup_day_mib: types.ReservedMebibytes
    docker: DockerSettings
    docker_minimum: types.MinimumVersion
    compose_minimum: types.MinimumVersion
    coolify_network: types.NetworkName
    open_tcp_ports: types.Ports
    open_udp_ports: types.Ports
    container_tcp_ports: types.Ports
    registry: types.Registry
    cron_jobs: tuple[CronJob, ...]
    thresholds: Thresholds
    # gpu.py
    gpus: tuple[Gpu, ...]
    ollama_models: tuple[OllamaModel, ...]
    ollama_instances: tuple[OllamaInstance, ...]
    ollama_gpu_overhead_mib: Annotated[int, Whole(0, 65536, "MiB")]
    ollama_version: types.Release
    ollama_sha256: types.Sha256
    whisper: Whisper
    nvidia_driver_minimum: Annotated[int, Whole(550, 9999, "Ollama needs 550")]
    container_toolkit_repository: AptRepository
    container_toolkit_key_fingerprint: types.Fingerprint
    # shared.py
    postgres: PostgresServer
    postgres_major: Annotated[int, Whole(13, 99, "a major version of Postgres")]
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
    backups: BackupPolicy
    watch: Watch
    # the environment, and its profile
    hardware_profile: str
    profile: HardwareProfile

    projects: tuple[Project, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def removed(self) -> tuple[str, ...]:
        """Stacks and containers to remove."""
        return words(self.remove)

    @property
    def internal_tcp_ports(self) -> tuple[int, ...]:
        """Ports of the host that its containers reach."""
        return (*self.container_tcp_ports, *(instance.port for instance in self.ollama_instances))

    @property
    def left_behind(self) -> tuple[str, ...]:
        """Databases of old servers that are not taken over."""
        return words(self.databases_left)

    @property
    def without_data(self) -> tuple[str, ...]:
        """Databases whose dumps may be small."""
        return words(self.empty_databases)

    @property
    def removed_teams(self) -> tuple[str, ...]:
        """Teams of LiteLLM to remove."""
        return words(self.remove_teams)

    @property
    def ollama_release(self) -> OllamaRelease:
        """The archive to install."""
        return OllamaRelease(version=self.ollama_version, sha256=self.ollama_sha256)

    def stacks_of(self, phase: str) -> tuple[Stack, ...]:
        """The stacks of a phase, in their order."""
        return tuple(stack for stack in self.stacks if stack.phase == phase)

    def stacks_with(self, projects: Sequence[Project]) -> tuple[Stack, ...]:
        """The shared stacks as some projects need them, then the stacks of these projects."""
        shown = dashboards(self.bull_board, self.flower, projects)

        def watching(service: Service) -> Service:
            """Put Uptime Kuma on the private networks of all stacks that it monitors."""
            return replace(service, joins=self._closed) if service.name == KUMA else service

        return (
            *(
                replace(stack, services=(*map(watching, stack.services), *shown))
                if stack.name == MONITORING
                else stack
                for stack in self.shared_stacks
            ),
            *(self._stack_of(project) for project in projects),
        )

    @cached_property
    def _closed(self) -> tuple[str, ...]:
        """Stacks with a private network, also of projects that the host does not have yet.

        Otherwise each of these projects would recreate Uptime Kuma.
        """
        stacks = (*self.shared_stacks, *map(self._stack_of, self.projects))
        return tuple(stack.name for stack in stacks if stack.private)

    def _stack_of(self, project: Project) -> Stack:
        try:
            return self.shared_services.stack(project, words(self.optional_services))
        except DeclarationError as error:  # a service's own variables contradict those of its project
            raise error.in_file(self.file_of(project.phase)) from None

    def redis_indexes_with(self, projects: Sequence[Project]) -> tuple[RedisIndex, ...]:
        """The table of Redis' indexes with those of some projects."""
        return redis_table(self.shared_redis_indexes, projects)

    def databases_with(self, projects: Sequence[Project]) -> tuple[Database, ...]:
        """The shared databases, and those of some projects."""
        return (*self.shared_databases, *(database for project in projects for database in project.databases))

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
        """Teams of all projects."""
        return tuple(project.team for project in self.projects)

    @property
    def generated_secrets(self) -> tuple[GeneratedSecret, ...]:
        """Every generated secret that is more than a password: declared ones, and those of the projects."""
        return (
            *self.secret_formats,
            *(GeneratedSecret(project.team.key_secret, prefix="sk-") for project in self.projects),
            *(form for project in self.projects for form in langfuse.forms(project.trace_keys)),
        )

    @property
    def shared_services(self) -> SharedServices:
        """Addresses and settings of everything that projects share."""
        return SharedServices(
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

    def yields_gpu(self, instance: OllamaInstance) -> bool:
        """Whether a container takes turns with an instance on its card (requirements 4.2)."""
        return any(service.unloads_model_of == instance.name for service in self._services())

    def gpu_of(self, consumer: OllamaInstance | Whisper | Service) -> Gpu:
        """The declared card of an instance, of whisper, or of a container that has one."""
        return matching_gpus(consumer.gpu or "", self.gpus)[0]

    def parallel_of(self, instance: OllamaInstance) -> int:
        """Requests that an instance answers at once, from the hardware profile."""
        return self.profile.ollama_parallel[instance.name]

    def resolve_gpus(self, actual: Sequence[Card]) -> dict[str, Card]:
        """The machine's card for each declared one, by the declared UUID. See `gpus.resolve_gpus`."""
        return resolve_gpus(self.gpus, actual, self.file_of("gpus"))

    def system(self, os_id: str, version: str) -> System | None:
        """What is declared for an operating system, by its /etc/os-release; None for an unknown one."""
        for system in self.systems:
            if (system.id, system.version) == (os_id, version):
                return system
        return None

    @cached_property
    def vram(self) -> tuple[CardBudget, ...]:
        """The budget of each card, in the order of the cards."""
        return tuple(self._card_budget(gpu) for gpu in self.gpus)

    def memory_budget(self, physical_mib: int | None = None) -> MemoryBudget:
        """The budget of the memory.

        :param physical_mib: memory of the actual machine; without it, of the profile
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
        """The budget of the disk.

        :param size_mib: size of the actual disk; without it, of the profile
        """
        return DiskBudget(tuple(self._disk_uses()), size_mib or self.profile.disk_gib * 1024)

    @cached_property
    def connections(self) -> ConnectionBudget:
        """The budget of connections to Postgres."""
        return ConnectionBudget(self.postgres, self.databases)

    def warnings(self) -> list[str]:
        """A sentence for each budget that is near its limit, for the report at the end of a run."""
        return [
            *self.memory_budget().warnings(),
            *self._below_recommended_memory(),
            *(sentence for card in self.vram for sentence in card.warnings()),
            *self.connections.warnings(),
            *self.disk_budget().warnings(),
        ]

    def _below_recommended_memory(self) -> Iterator[str]:
        less = [
            f"{service.name} {service.memory_mib} of {mebibytes(service.recommended_memory)}"
            for service in self._services()
            if service.recommended_memory and service.memory_mib < mebibytes(service.recommended_memory)
        ]
        if less:
            yield f"memory below what the makers of a program ask for, in MiB: {', '.join(less)}"

    def _services(self) -> Iterator[Service]:
        for stack in self.stacks:
            yield from stack.services

    def _card_budget(self, gpu: Gpu) -> CardBudget:
        instances = [instance for instance in self.ollama_instances if self.gpu_of(instance) == gpu]
        containers = [
            service for service in self._services() if service.gpu and matching_gpus(service.gpu, [gpu])
        ]
        unloaded = {service.unloads_model_of for service in containers}

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

        # A container that unloads no model may compute at any time.
        always = [service for service in containers if service.unloads_model_of is None]
        remaining = [instance for instance in instances if instance.name not in unloaded]
        return CardBudget(
            gpu,
            tuple(shares(instances, always)),
            tuple(shares(remaining, containers)) if unloaded - {None} else (),
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

    def file_of(self, key: str) -> str:
        """The file that a key was taken from, for messages."""
        return self.sources.get(key, "host data")

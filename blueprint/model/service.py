"""Containers, and the stacks they form (requirements 2)."""

from __future__ import annotations

import base64
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, field
from typing import Annotated, Literal

from pydantic import Field

from blueprint.model import types
from blueprint.model.backup import BucketData, ClickHouseData, Data
from blueprint.model.declaration import Conflict, Declaration, conflicts, declaration
from blueprint.model.types import mebibytes, secret_names
from blueprint.validation import Expected, Whole

# Processes and threads of a container. Several times what most of them were seen to have (4 to 80), a hundredth of what
# the kernel has room for.
PIDS = 512


@declaration(kw_only=False)
class Http(Declaration):
    """A service is healthy while a URL of its own answers with a status below 400.

    :param path: path of that URL, "/health/liveliness"
    :param probe: program of the image that checks: curl, node, python (3) or wget
    :param port: port of that URL, or None for the service's
    :param interval_s: seconds between two checks
    :param timeout_s: seconds that an answer may take
    :param retries: failures in a row that make it unhealthy
    :param start_s: seconds after its start during which failures do not count
    """

    path: types.UrlPath
    _: KW_ONLY
    probe: Literal["curl", "node", "python", "wget"] = "python"
    port: types.Port | None = None
    interval_s: types.Seconds = 30
    timeout_s: Annotated[int, Whole(1, 600, "seconds")] = 10
    retries: Annotated[int, Whole(1, 100)] = 3
    start_s: Annotated[int, Whole(0, 3600, "seconds")] = 60


@declaration(kw_only=False)
class Command(Declaration):
    """A service is healthy while a command in its container exits 0.

    :param command: program and arguments; no shell reads them, and no secret belongs here, since `ps` shows them
    :param interval_s: seconds between two runs
    :param timeout_s: seconds that it may take
    :param retries: failures in a row that make it unhealthy
    :param start_s: seconds after its start during which failures do not count
    """

    command: Annotated[
        types.Words,
        Field(min_length=1),
        Expected("a list of words: a program and its arguments, no text for a shell to split"),
    ]
    _: KW_ONLY
    interval_s: types.Seconds = 30
    timeout_s: Annotated[int, Whole(1, 600, "seconds")] = 10
    retries: Annotated[int, Whole(1, 100)] = 3
    start_s: Annotated[int, Whole(0, 3600, "seconds")] = 60


Health = Annotated[
    Http | Command,
    Expected("an Http or a Command", "nothing can tell a service without one from a dead one"),
]


@declaration(kw_only=False)
class GeneratedSecret(Declaration):
    """A generated secret with a form of its own, or one that must never be generated again.

    :param name: its name in the secrets, "litellm/master_key"
    :param prefix: what it begins with, "sk-"
    :param hex_bytes: random bytes of a secret in hexadecimal
    :param base64_bytes: random bytes of a secret in base64
    :param rotation_blocked_by: why it cannot be rotated
    :param reset: how a person changes it where it is used, if possible; the secrets file follows
    """

    name: types.SecretName
    _: KW_ONLY
    prefix: str = ""
    hex_bytes: types.RandomBytes | None = None
    base64_bytes: types.RandomBytes | None = None
    rotation_blocked_by: str = ""
    reset: str = ""

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        if self.hex_bytes is not None and self.base64_bytes is not None:
            yield Conflict("base64_bytes", "declared without hex_bytes")

    def make(self) -> str:
        """A new value of this form; 256 random bits where nothing else is declared."""
        if self.base64_bytes:
            return self.prefix + base64.b64encode(secrets.token_bytes(self.base64_bytes)).decode()
        return self.prefix + (
            secrets.token_hex(self.hex_bytes) if self.hex_bytes else secrets.token_urlsafe(32)
        )


@declaration()
class Service(Declaration):
    """One container.

    :param name: name of the container, and one of its names on the network
    :param image: pinned image; with `build`, what the built one is called
    :param memory: limit of its memory, "512m"; it may swap as much again
    :param measured_memory: its measured use, "338m", for the budget; None if it is not measured
    :param recommended_memory: what its makers ask for at least, "4g", where the owner is warned that it has less
    :param health: how Docker, and everything that waits for it, finds it healthy
    :param cpus: processors that it may use, or None for all of them
    :param aliases: further names on the network
    :param private: only services of its stack that depend on it reach it, on a network of the stack that has no way
        out; it is not on the common network
    :param joins: stacks whose private network it also joins
    :param port: TCP port in the container for its clients
    :param publish: port on the host's 127.0.0.1 that leads to `port`
    :param public: TCP ports opened to the world; for the proxy alone
    :param public_udp: UDP ports, likewise
    :param env: environment; no secrets
    :param generated_secrets: environment from generated secrets: the name of one, or a text with names in braces,
        where they are percent-encoded ("redis://litellm:{redis/litellm}@shared-redis:6379/1")
    :param provided_secrets: environment from secrets that the owner provides, by their names
    :param volumes: where each volume is mounted; no run removes a volume unasked
    :param files: where each file of the stack's folder is mounted, read-only, by its path there
    :param files_uid: owner of these files, where another user than root reads them
    :param host_paths: where a path of the host is mounted, read-only
    :param domain: public name under which the proxy serves it
    :param domain_port: TCP port for the proxy, where it is not `port`
    :param further_domains: more such names
    :param command: instead of the image's command
    :param entrypoint: instead of the image's entry point
    :param user: numeric user, or user and group, instead of the image's
    :param root: why its processes run as root, or start as root, if they do
    :param cap_add: capabilities that it keeps, with the reason for each; without it, none
    :param writable: why its root file system can be written; without it, only `volumes`, `tmpfs` and /tmp can
    :param tmpfs: folders that can be written and are empty at each start, with options such as "uid=999,mode=0755"
    :param pids: processes and threads that it may have at once
    :param depends_on: services of the same stack that must be healthy before it starts
    :param shm_size: size of /dev/shm, "1g", or None for the engine's default
    :param host_gateway: the host is host.docker.internal
    :param gpu: `Gpu.uuid` of the card that it gets
    :param vram_mib: memory on that card while it works, in MiB
    :param unloads_model_of: `OllamaInstance.name` on that card whose model it unloads while it works (requirements 4.2)
    :param stop_s: seconds that it has to stop
    :param build: folder with a Dockerfile from which the image is built on the host, "files/postgres"
    :param build_args: arguments of that build
    :param reload: command in the container that reads changed `files` again; without one, they recreate it
    :param stateful: it holds data: never recreated without its backup in the same run
    :param data: its data, where copies of the files in its volumes are no backup; by default, each volume is copied
    :param database: `Database.name` of its database
    :param redis: `RedisIndex.index` of each index that it uses
    :param redis_user: its user there
    """

    name: types.HostName
    image: types.ImageReference
    memory: types.MemoryLimit
    measured_memory: types.MemorySize | None = None
    recommended_memory: types.MemorySize | None = None
    health: Health
    cpus: types.Processors | None = None
    aliases: tuple[types.HostName, ...] = ()
    private: bool = False
    joins: tuple[types.Name, ...] = ()
    port: types.Port | None = None
    publish: types.Port | None = None
    public: tuple[types.Port, ...] = ()
    public_udp: tuple[types.Port, ...] = ()
    env: Mapping[types.EnvName, types.EnvValue] = field(default_factory=dict)
    generated_secrets: Mapping[types.EnvName, types.SecretText] = field(default_factory=dict)
    provided_secrets: Mapping[types.EnvName, types.SecretName] = field(default_factory=dict)
    volumes: Mapping[types.Name, types.AbsolutePath] = field(default_factory=dict)
    files: Mapping[types.StackFile, types.AbsolutePath] = field(default_factory=dict)
    files_uid: Annotated[int, Whole(0, 2**31 - 1, "a numeric user")] = 0
    host_paths: Mapping[types.HostPath, types.AbsolutePath] = field(default_factory=dict)
    domain: types.DomainName | None = None
    domain_port: types.Port | None = None
    further_domains: tuple[types.DomainName, ...] = ()
    command: types.Words = ()
    entrypoint: types.Words = ()
    user: types.UserNumbers | None = None
    root: str = ""
    cap_add: Mapping[types.Capability, types.Reason] = field(default_factory=dict)
    writable: str = ""
    tmpfs: Mapping[types.AbsolutePath, types.TmpfsOptions] = field(default_factory=dict)
    pids: types.Pids = PIDS
    depends_on: tuple[str, ...] = ()
    shm_size: types.MemorySize | None = None
    host_gateway: bool = False
    gpu: types.GpuUuid | None = None
    vram_mib: types.Mebibytes | None = None
    unloads_model_of: types.Name | None = None
    stop_s: types.Seconds = 10
    build: types.ProjectFolder | None = None
    build_args: Mapping[str, str] = field(default_factory=dict)
    reload: types.Words = ()
    stateful: bool = False
    data: Data | None = None
    database: types.PostgresName | None = None
    redis: tuple[types.RedisIndexNumber, ...] = ()
    redis_user: types.Name | None = None

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        yield from self._together()
        yield from self._unique_settings()
        yield from self._read_again()

    def _together(self) -> Iterator[Conflict]:
        """What is declared only along with something else, or never along with it."""
        probes_port = isinstance(self.health, Http) and self.health.port is None
        needs = {
            "volumes": (not self.stateful or self.volumes, "where its data is, as it is stateful"),
            "data": (not self.data or self.stateful, "declared together with stateful"),
            "domain_port": (not self.domain_port or self.domain, "declared together with domain"),
            "further_domains": (not self.further_domains or self.domain, "declared together with domain"),
            "publish": (not self.publish or self.port, "declared together with port"),
            "domain": (not self.domain or self.port, "declared together with port"),
            "health": (not probes_port or self.port, "declared together with port"),
            "build_args": (not self.build_args or self.build, "declared together with build"),
            "redis_user": (bool(self.redis) == bool(self.redis_user), "declared with redis"),
            "vram_mib": ((self.vram_mib is None) == (self.gpu is None), "declared with gpu, in MiB"),
            "unloads_model_of": (self.unloads_model_of is None or self.gpu, "declared with gpu"),
            "tmpfs": (not (self.tmpfs and self.writable), "without `writable`, which makes it needless"),
            "user": (
                self.user is None or self.user.partition(":")[0] != "0" or self.root,
                "another than root, or `root` with the reason",
            ),
        }
        for key, (holds, expected) in needs.items():
            if not holds:
                yield Conflict(key, expected)
        if isinstance(self.data, ClickHouseData | BucketData) and not self.port:
            yield Conflict("data", "declared together with port")
        reached = ("domain", "publish", "public", "public_udp", "host_gateway", "database", "redis")
        for key in (key for key in reached if self.private and getattr(self, key)):
            yield Conflict(key, "left out of what is `private`")
        if self.measured_memory and mebibytes(self.measured_memory) > self.memory_mib:
            yield Conflict("measured_memory", f"at most {self.memory}")

    def _unique_settings(self) -> Iterator[Conflict]:
        sources = {key: getattr(self, key) for key in ("env", "generated_secrets", "provided_secrets")}
        for key, source in sources.items():
            for variable in source:
                if elsewhere := [one for one in sources if one != key and variable in sources[one]]:
                    yield Conflict(f"{key}.{variable}", "declared once", f"in {', '.join(elsewhere)} too")
        targets = [*self.volumes.values(), *self.files.values(), *self.host_paths.values(), *self.tmpfs]
        for target, count in Counter(targets).items():
            if count > 1:
                found = f"{target} {count} times"
                yield Conflict("volumes, files, host_paths and tmpfs", "paths of their own", found)

    def _read_again(self) -> Iterator[Conflict]:
        """A file that is replaced is another file: a container that has the old one mounted keeps it.

        So the folder is mounted where files change under a running container.
        """
        if self.reload:
            folders = {(folder_of(file), folder_of(target)) for file, target in self.files.items()}
            renamed = [file for file, target in self.files.items() if name_of(file) != name_of(target)]
            if len(folders) != 1:
                yield Conflict("files", "of one folder, mounted at one, with `reload`")
            if renamed:
                yield Conflict("files", "mounted under their own names, with `reload`", ", ".join(renamed))

    @property
    def memory_mib(self) -> int:
        return mebibytes(self.memory)

    @property
    def tmp_mib(self) -> int:
        """Size of a folder in `tmpfs`, and of /tmp, in MiB; what is in it counts as the container's memory."""
        return self.memory_mib // 4

    @property
    def domains(self) -> tuple[str, ...]:
        """All names under which the proxy serves it."""
        return (*([self.domain] if self.domain is not None else ()), *self.further_domains)

    @property
    def served_port(self) -> int | None:
        """The port for the proxy of its domains."""
        return self.domain_port or self.port

    @property
    def measured_memory_mib(self) -> int | None:
        """Its measured use, in MiB."""
        return None if self.measured_memory is None else mebibytes(self.measured_memory)

    @property
    def names(self) -> tuple[str, ...]:
        """All its names on the network, its own first."""
        return (self.name, *(alias for alias in self.aliases if alias != self.name))

    @property
    def secrets_used(self) -> frozenset[str]:
        """Names of the generated secrets in its environment."""
        return frozenset(name for text in self.generated_secrets.values() for name in secret_names(text))


SomeServices = Annotated[tuple[Service, ...], Field(min_length=1), Expected("at least one Service")]


@declaration()
class Stack(Declaration):
    """Services that belong together: one Compose project.

    :param name: name of the project, and of its folder
    :param services: its containers
    :param phase: name of its phase
    :param skip_if_running: a container of another owner that does the same; while it runs, this stack is not started
    """

    name: types.Name
    services: SomeServices
    phase: str = ""
    skip_if_running: types.Name | None = None

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        counts = Counter(service.name for service in self.services)
        for name in (name for name, count in counts.items() if count > 1):
            yield Conflict("services", "names of their own", f"{name} more than once")
        for service in self.services:
            for other in service.depends_on:
                if other not in counts or other == service.name:
                    allowed = ", ".join(sorted(counts.keys() - {service.name})) or "no other service"
                    yield Conflict(f"services.{service.name}.depends_on", f"one of {allowed}", other)
        if circle := _circle({service.name: service.depends_on for service in self.services}):
            yield Conflict("services", "in an order in which they can start", " → ".join(circle))
        needed = {other for service in self.services for other in service.depends_on}
        for service in self.services:
            if service.private and service.name not in needed:
                expected = "a service that another one of the stack depends on"
                yield Conflict(f"services.{service.name}.private", expected, "True")
        owners: dict[str, int] = {}
        for service in self.services:
            for file in service.files:
                if (uid := owners.setdefault(file, service.files_uid)) != service.files_uid:
                    expected = f"{uid}, whom {file} belongs to already"
                    yield Conflict(f"services.{service.name}.files_uid", expected, str(service.files_uid))

    def service(self, name: str) -> Service:
        """The service of that name."""
        return next(service for service in self.services if service.name == name)

    @property
    def private(self) -> frozenset[str]:
        """Names of the services that only its own services speak to."""
        return frozenset(service.name for service in self.services if service.private)


def _circle(depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """Services that wait for each other, the first one at the end again; nothing where all can start."""
    waiting = {
        name: [other for other in others if other in depends_on] for name, others in depends_on.items()
    }
    while ready := {name for name, others in waiting.items() if not others}:
        waiting = {
            name: [other for other in others if other not in ready]
            for name, others in waiting.items()
            if name not in ready
        }
    path: list[str] = []
    name = next(iter(waiting), "")
    while waiting and name not in path:
        path.append(name)
        name = waiting[name][0]
    return [*path[path.index(name) :], name] if waiting else []


def folder_of(path: str) -> str:
    """The folder part of a path with forward slashes."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """The last part of a path with forward slashes."""
    return path.rpartition("/")[2]

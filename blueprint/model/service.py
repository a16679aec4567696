"""Containers, and the stacks they form (requirements 2)."""

from __future__ import annotations

import base64
import re
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from blueprint.model.backup import BucketData, ClickHouseData, Data
from blueprint.model.data_plane import REDIS_DATABASES
from blueprint.model.declaration import MEMORY, Check, Declaration, checking, mebibytes

_HOST_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")
_ROLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
# With dots, as Elasticsearch has them.
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_SECRET = re.compile(r"[a-z0-9_-]+(/[a-z0-9_.-]+)+")
_IN_BRACES = re.compile(r"\{([^{}]*)\}")
_RELATIVE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_URL_PATH = re.compile(r"/[A-Za-z0-9/._~?&=%-]*")
_USER = re.compile(r"[0-9]+(:[0-9]+)?")
_CAPABILITY = re.compile(r"[A-Z]+(_[A-Z]+)*")
_TMPFS = re.compile(r"[a-z]+=[0-9a-z]+(,[a-z]+=[0-9a-z]+)*")

# Processes and threads of a container. Several times what most of them were seen to have (4 to 80), a hundredth of what
# the kernel has room for.
PIDS = 512

# What can ask a URL inside an image, and how (`blueprint.stacks` has the commands).
PROBES = ("curl", "node", "python", "wget")


@dataclass(frozen=True)
class Http(Declaration):
    """A service is well while a URL of its own answers with a status below 400.

    :param path: path of the URL, "/health/liveliness"
    :param probe: which program of the image asks: curl, node, python (3) or wget
    :param port: port that is asked, or None for the service's
    :param interval_s: seconds between two questions
    :param timeout_s: seconds that an answer may take
    :param retries: failures in a row that make it unhealthy
    :param start_s: seconds after its start during which failures do not count
    """

    path: str
    probe: str = field(default="python", kw_only=True)
    port: int | None = field(default=None, kw_only=True)
    interval_s: int = field(default=30, kw_only=True)
    timeout_s: int = field(default=10, kw_only=True)
    retries: int = field(default=3, kw_only=True)
    start_s: int = field(default=60, kw_only=True)

    def __post_init__(self) -> None:
        with checking("Http") as check:
            check.matches("path", self.path, _URL_PATH, "the path of a URL, such as /health")
            check.one_of("probe", self.probe, PROBES)
            if self.port is not None:
                check.port("port", self.port)
            _check_timing(check, self)


@dataclass(frozen=True)
class Command(Declaration):
    """A service is well while a command in its container exits 0.

    :param command: program and arguments; no shell reads them, and no secret belongs here, since `ps` shows them
    :param interval_s: seconds between two runs
    :param timeout_s: seconds that it may take
    :param retries: failures in a row that make it unhealthy
    :param start_s: seconds after its start during which failures do not count
    """

    command: Sequence[str]
    interval_s: int = field(default=30, kw_only=True)
    timeout_s: int = field(default=10, kw_only=True)
    retries: int = field(default=3, kw_only=True)
    start_s: int = field(default=60, kw_only=True)

    def __post_init__(self) -> None:
        with checking("Command") as check:
            _check_words(check, "command", self.command)
            check.that(self.command, "command", self.command, "a program with its arguments")
            _check_timing(check, self)


def _check_timing(check: Check, health: Http | Command) -> None:
    check.integer("interval_s", health.interval_s, 1, 3600, "seconds")
    check.integer("timeout_s", health.timeout_s, 1, 600, "seconds")
    check.integer("retries", health.retries, 1, 100)
    check.integer("start_s", health.start_s, 0, 3600, "seconds")


def _check_words(check: Check, key: str, words: object) -> None:
    listed = isinstance(words, list | tuple) and all(isinstance(word, str) for word in words)
    check.that(listed, key, words, "a list of words, no text that a shell would have to split")


@dataclass(frozen=True)
class GeneratedSecret(Declaration):
    """A secret that is generated and must look like something, or must never be generated again.

    :param name: its name in the secrets, "litellm/master_key"
    :param prefix: what it begins with, "sk-"
    :param hex_bytes: random bytes written in hexadecimal, where that is what it must be
    :param base64_bytes: likewise in base64
    :param rotation_blocked_by: why it cannot be rotated
    :param reset: how a person changes it where it is used, if that can be done: the secrets follow then
    """

    name: str
    prefix: str = field(default="", kw_only=True)
    hex_bytes: int | None = field(default=None, kw_only=True)
    base64_bytes: int | None = field(default=None, kw_only=True)
    rotation_blocked_by: str = field(default="", kw_only=True)
    reset: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        with checking(f"GeneratedSecret {self.name}") as check:
            check.matches("name", self.name, _SECRET, 'a name such as "litellm/master_key"')
            for key in ("hex_bytes", "base64_bytes"):
                if (size := getattr(self, key)) is not None:
                    check.integer(key, size, 16, 1024, "bytes")
            both = self.hex_bytes is not None and self.base64_bytes is not None
            check.that(not both, "base64_bytes", self.base64_bytes, "given without hex_bytes")

    def make(self) -> str:
        """A new value of this form; 256 random bits where nothing else is declared."""
        if self.base64_bytes:
            return self.prefix + base64.b64encode(secrets.token_bytes(self.base64_bytes)).decode()
        return self.prefix + (
            secrets.token_hex(self.hex_bytes) if self.hex_bytes else secrets.token_urlsafe(32)
        )


@dataclass(frozen=True, kw_only=True)
class Service(Declaration):
    """One container.

    :param name: name of the container, and one of its names on the network
    :param image: pinned image; with `build`, what the built one is called
    :param memory: limit of its memory, "512m"; it may swap as much again
    :param measured_memory: what it was seen to take, "338m", or None where nobody measured it; for the budget
    :param recommended_memory: what its makers ask for at least, "4g", where the owner is told that it has less
    :param health: how Docker, and everything that waits for it, knows that it is well
    :param cpus: processors that it may use, or None for all of them
    :param aliases: further names on the network
    :param private: nobody speaks to it but services of its stack that depend on it: with these it is on a network of
        the stack's own, without a way out, and not on the one where all meet
    :param joins: stacks whose own network it is on, too
    :param port: TCP port in the container that others speak to
    :param publish: port on the host's 127.0.0.1 that leads to `port`
    :param public: TCP ports opened to the world; for the proxy alone
    :param public_udp: UDP ports, likewise
    :param env: environment; no secrets
    :param generated_secrets: environment from generated secrets: the name of one, or a text with names in braces,
        where they are percent-encoded ("redis://litellm:{redis/litellm}@shared-redis:6379/1")
    :param provided_secrets: environment from what others issued: the names of secrets that the owner provides
    :param volumes: where each volume is mounted; volumes outlive everything that is done here
    :param files: where each file of the stack's folder is mounted, read-only, by its path there
    :param files_uid: user that these files belong to, where the container reads them as another than root
    :param host_paths: where a path of the host is mounted, read-only
    :param domain: name under which the proxy serves it to the world
    :param domain_port: TCP port that the proxy speaks to, where it is not `port`
    :param further_domains: more such names
    :param command: instead of the image's command
    :param entrypoint: instead of the image's entry point
    :param user: numeric user, or user and group, instead of the image's
    :param root: why its processes run as root, or begin as root, where they do
    :param cap_add: capabilities that it keeps, with the reason for each; without it, none
    :param writable: why its root file system can be written; without it, only `volumes`, `tmpfs` and /tmp can
    :param tmpfs: folders that can be written and are empty at each start, with options such as "uid=999,mode=0755"
    :param pids: processes and threads that it may have at once
    :param depends_on: services of the same stack that must be healthy before it starts
    :param shm_size: size of /dev/shm, "1g", or None for the engine's default
    :param host_gateway: the host is host.docker.internal
    :param gpu: `Gpu.uuid` of the card that it gets
    :param vram_mib: what it takes on that card while it works, in MiB
    :param unloads_model_of: `OllamaInstance.name` on that card whose model it unloads while it works (requirements 4.2)
    :param stop_s: seconds that it gets to stop by itself
    :param build: folder with a Dockerfile from which the image is built on the host, "files/postgres"
    :param build_args: arguments of that build
    :param reload: command in the container that reads changed `files` again; without one they recreate it
    :param stateful: it holds data: never recreated without its backup in the same run
    :param data: what it holds, where a copy of the files in its volumes would not do; without it, each volume is saved
    :param database: `Database.name` that it uses
    :param redis: `RedisIndex.index` of those that it uses
    :param redis_user: user by which it does
    """

    name: str
    image: str
    memory: str
    measured_memory: str | None = None
    recommended_memory: str | None = None
    health: Http | Command | None = None
    cpus: float | None = None
    aliases: tuple[str, ...] = ()
    private: bool = False
    joins: tuple[str, ...] = ()
    port: int | None = None
    publish: int | None = None
    public: tuple[int, ...] = ()
    public_udp: tuple[int, ...] = ()
    env: Mapping[str, str | int] = field(default_factory=dict)
    generated_secrets: Mapping[str, str] = field(default_factory=dict)
    provided_secrets: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    files_uid: int = 0
    host_paths: Mapping[str, str] = field(default_factory=dict)
    domain: str | None = None
    domain_port: int | None = None
    further_domains: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    user: str | None = None
    root: str = ""
    cap_add: Mapping[str, str] = field(default_factory=dict)
    writable: str = ""
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    pids: int = PIDS
    depends_on: tuple[str, ...] = ()
    shm_size: str | None = None
    host_gateway: bool = False
    gpu: str | None = None
    vram_mib: int | None = None
    unloads_model_of: str | None = None
    stop_s: int = 10
    build: str | None = None
    build_args: Mapping[str, str] = field(default_factory=dict)
    reload: tuple[str, ...] = ()
    stateful: bool = False
    data: Data | None = None
    database: str | None = None
    redis: tuple[int, ...] = ()
    redis_user: str | None = None

    def __post_init__(self) -> None:
        with checking(f"Service {self.name}") as check:
            check.image("image", self.image)
            check.memory("memory", self.memory)
            if self.measured_memory is not None:
                check.memory("measured_memory", self.measured_memory)
                sizes = (self.measured_memory, self.memory)
                if all(isinstance(size, str) and MEMORY.fullmatch(size) for size in sizes):
                    fits = mebibytes(self.measured_memory) <= mebibytes(self.memory)
                    check.that(fits, "measured_memory", self.measured_memory, f"at most {self.memory}")
            if self.recommended_memory is not None:
                check.memory("recommended_memory", self.recommended_memory)
            check.that(
                isinstance(self.health, Http | Command),
                "health",
                self.health,
                "an Http or a Command",
                "nothing can tell a service without one from a dead one",
            )
            if self.cpus is not None:
                enough = isinstance(self.cpus, int | float) and 0.01 <= self.cpus <= 1024
                check.that(enough, "cpus", self.cpus, "a number of processors such as 1.5")
            self._check_network(check)
            self._check_environment(check)
            self._check_mounts(check)
            self._check_process(check)
            self._check_sharing(check)
            self._check_card(check)
            self._check_data(check)

    def _check_data(self, check: Check) -> None:
        if self.stateful:
            check.that(self.volumes, "volumes", self.volumes, "where its data is", "a container keeps none")
        if self.data is not None:
            check.that(self.stateful, "data", self.data, "given together with stateful")
        if isinstance(self.data, ClickHouseData | BucketData):
            check.that(self.port, "data", self.data, "given together with port")

    def _check_network(self, check: Check) -> None:
        name = "a host name: lower-case letters, digits and -, beginning with a letter"
        check.matches("name", self.name, _HOST_NAME, name)
        for alias in self.aliases:
            check.matches("aliases", alias, _HOST_NAME, name)
        for key in ("port", "publish", "domain_port"):
            if getattr(self, key) is not None:
                check.port(key, getattr(self, key))
        for key in ("public", "public_udp"):
            for port in getattr(self, key):
                check.port(key, port)
        needs_port = {"publish": self.publish, "domain": self.domain}
        if isinstance(self.health, Http) and self.health.port is None:
            needs_port["health"] = self.health.path
        for key, value in needs_port.items():
            check.that(value is None or self.port, key, value, "given together with port")
        for domain in self.domains:
            check.matches("domain", domain, _DOMAIN, "a domain in lower case")
        reached: dict[str, object] = {
            "domain": self.domain,
            "publish": self.publish,
            "public": self.public,
            "public_udp": self.public_udp,
            "host_gateway": self.host_gateway,
            "database": self.database,
            "redis": self.redis,
        }
        for key, reach in reached.items():
            check.that(not (self.private and reach), key, reach, "left out of what is `private`")
        for stack in self.joins:
            check.name("joins", stack)
        for key in ("further_domains", "domain_port"):
            value = getattr(self, key)
            check.that(self.domain or not value, key, value, "given together with domain")

    def _check_environment(self, check: Check) -> None:
        sources = {
            "env": self.env,
            "generated_secrets": self.generated_secrets,
            "provided_secrets": self.provided_secrets,
        }
        for key, source in sources.items():
            for variable in source:
                check.matches(key, variable, _VARIABLE, "names of environment variables")
                elsewhere = [other for other in sources if other != key and variable in sources[other]]
                check.that(not elsewhere, f"{key}.{variable}", f"in {', '.join(elsewhere)} too", "given once")
        for variable, value in self.env.items():
            plain = isinstance(value, str | int) and not isinstance(value, bool)
            one_line = plain and not set(str(value)) & set("\n\r\0")
            check.that(one_line, f"env.{variable}", value, "one line of text, or a whole number")
        for variable, text in self.generated_secrets.items():
            names = secret_names(text)
            valid = bool(names) and all(_SECRET.fullmatch(name) for name in names)
            expected = 'the name of a secret ("postgres/litellm"), or a text with such names in braces'
            check.that(valid, f"generated_secrets.{variable}", text, expected)
        for variable, name in self.provided_secrets.items():
            check.matches(
                f"provided_secrets.{variable}", name, _SECRET, 'the name of a secret ("groq/api_key")'
            )

    def _check_mounts(self, check: Check) -> None:
        for volume in self.volumes:
            check.name("volumes", volume)
        for file in self.files:
            relative = 'a path below the stack\'s folder without . and .., such as "redis/redis.conf"'
            check.matches("files", file, _RELATIVE_PATH, relative)
            check.that("/" in file, "files", file, "a path in a folder", f'such as "{self.name}/{file}"')
        for path in self.host_paths:
            check.path("host_paths", path)
            whose = "another path: with the engine's socket a container is root of the host"
            check.that(name_of(path) != "docker.sock", "host_paths", path, whose)
        targets = [*self.volumes.values(), *self.files.values(), *self.host_paths.values(), *self.tmpfs]
        for path, options in self.tmpfs.items():
            check.path("tmpfs", path)
            fits = not options or _TMPFS.fullmatch(options)
            check.that(fits, f"tmpfs.{path}", options, "options of a tmpfs, such as uid=999,mode=0755")
        check.that(
            not (self.tmpfs and self.writable),
            "tmpfs",
            self.tmpfs,
            "without `writable`, which makes it needless",
        )
        for key in ("volumes", "files", "host_paths"):
            for target in getattr(self, key).values():
                check.path(key, target)
        for target, count in Counter(targets).items():
            check.that(
                count == 1,
                "volumes, files, host_paths and tmpfs",
                f"{target} {count} times",
                "paths of their own",
            )
        check.integer("files_uid", self.files_uid, 0, 2**31 - 1, "a numeric user")
        if self.reload:
            # A file that is replaced is another file: a container that has the old one mounted keeps it. So the
            # folder is mounted where files change under a running container.
            folders = {(folder_of(file), folder_of(target)) for file, target in self.files.items()}
            renamed = [file for file, target in self.files.items() if name_of(file) != name_of(target)]
            check.that(len(folders) == 1, "files", self.files, "of one folder, mounted at one, with `reload`")
            check.that(not renamed, "files", renamed, "mounted under their own names, with `reload`")

    def _check_process(self, check: Check) -> None:
        for key in ("command", "entrypoint", "reload"):
            _check_words(check, key, getattr(self, key))
        if self.user is not None:
            check.matches("user", self.user, _USER, 'numeric, such as "999:999"')
            as_root = str(self.user).partition(":")[0] == "0"
            check.that(
                not as_root or self.root, "user", self.user, "another than root, or `root` with the reason"
            )
        for capability, reason in self.cap_add.items():
            check.matches(
                "cap_add", capability, _CAPABILITY, "capabilities without CAP_, such as NET_BIND_SERVICE"
            )
            check.that(capability != "ALL", "cap_add", capability, "single capabilities")
            check.that(reason, f"cap_add.{capability}", reason, "the reason why it needs it")
        check.integer("pids", self.pids, 16, 32_768, "processes and threads")
        if self.shm_size is not None:
            check.memory("shm_size", self.shm_size)
        check.integer("stop_s", self.stop_s, 1, 3600, "seconds")
        if self.build is not None:
            check.matches("build", self.build, _RELATIVE_PATH, "a folder of this project")
        check.that(
            self.build or not self.build_args, "build_args", self.build_args, "given together with build"
        )

    def _check_sharing(self, check: Check) -> None:
        if self.database is not None:
            check.matches("database", self.database, _ROLE, "the name of a Database")
        for index in self.redis:
            check.integer("redis", index, 0, REDIS_DATABASES - 1)
        check.that(
            bool(self.redis) == bool(self.redis_user), "redis_user", self.redis_user, "given with redis"
        )
        if self.redis_user:
            check.name("redis_user", self.redis_user)

    def _check_card(self, check: Check) -> None:
        if self.vram_mib is not None:
            check.integer("vram_mib", self.vram_mib, 1, 1024 * 1024, "MiB")
        if self.unloads_model_of is not None:
            check.name("unloads_model_of", self.unloads_model_of)
        for key in ("vram_mib", "unloads_model_of"):
            check.that(getattr(self, key) is None or self.gpu, key, getattr(self, key), "given with gpu")

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
        """The port that the proxy of its domains speaks to."""
        return self.domain_port or self.port

    @property
    def measured_memory_mib(self) -> int | None:
        """What it was seen to take, in MiB."""
        return None if self.measured_memory is None else mebibytes(self.measured_memory)

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that it is called on the network, its own name first."""
        return (self.name, *(alias for alias in self.aliases if alias != self.name))

    @property
    def secrets_used(self) -> frozenset[str]:
        """Names of the generated secrets in its environment."""
        return frozenset(name for text in self.generated_secrets.values() for name in secret_names(text))


@dataclass(frozen=True, kw_only=True)
class Stack(Declaration):
    """Services that belong together: one Compose project.

    :param name: name of the project, and of its folder
    :param services: its containers
    :param phase: name of the phase that brings it
    :param skip_if_running: a container of another owner that does the same; while it runs, this stack is not started
    """

    name: str
    services: tuple[Service, ...]
    phase: str = ""
    skip_if_running: str | None = None

    def __post_init__(self) -> None:
        with checking(f"Stack {self.name}") as check:
            check.name("name", self.name)
            if self.skip_if_running is not None:
                check.name("skip_if_running", self.skip_if_running)
            check.that(self.services, "services", self.services, "at least one Service")
            counts = Counter(service.name for service in self.services)
            for name in (name for name, count in counts.items() if count > 1):
                check.that(False, "services", f"{name} more than once", "names of their own")
            for service in self.services:
                for other in service.depends_on:
                    known = other in counts and other != service.name
                    allowed = ", ".join(sorted(counts.keys() - {service.name})) or "no other service"
                    check.that(known, f"services.{service.name}.depends_on", other, f"one of {allowed}")
            if circle := _circle({service.name: service.depends_on for service in self.services}):
                check.that(False, "services", f"{' → '.join(circle)}", "in an order in which they can start")
            needed = {other for service in self.services for other in service.depends_on}
            for service in self.services:
                used = not service.private or service.name in needed
                key = f"services.{service.name}.private"
                check.that(used, key, True, "a service that another one of the stack depends on")
            owners: dict[str, int] = {}
            for service in self.services:
                for file in service.files:
                    uid = owners.setdefault(file, service.files_uid)
                    check.that(
                        uid == service.files_uid,
                        f"services.{service.name}.files_uid",
                        service.files_uid,
                        f"{uid}, whom {file} belongs to already",
                    )

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


def secret_names(text: str) -> list[str]:
    """Names of the secrets in a value of `Service.generated_secrets`."""
    if "{" in text or "}" in text:
        rest = _IN_BRACES.sub("", text)
        return [] if "{" in rest or "}" in rest else _IN_BRACES.findall(text)
    return [text]


def fill(text: str, value: Mapping[str, str]) -> str:
    """A value of `Service.generated_secrets` with the secrets in it.

    :param value: each secret, percent-encoded where `text` is more than its name
    """
    return _IN_BRACES.sub(lambda match: value[match[1]], text) if "{" in text else value[text]


def folder_of(path: str) -> str:
    """The folder part of a path with forward slashes."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """The last part of a path with forward slashes."""
    return path.rpartition("/")[2]

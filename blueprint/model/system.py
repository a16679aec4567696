"""The operating system under everything: packages, Docker's settings, cron jobs, paths, thresholds."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, fields

from blueprint.model.declaration import Declaration, checking

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_SIZE = re.compile(r"[1-9][0-9]*[kmg]")
_BUILD_CACHE = re.compile(r"[1-9][0-9]*[KMG]B")


@dataclass(frozen=True, kw_only=True)
class System(Declaration):
    """An operating system that can be provisioned, and what its packages are called.

    :param id: `ID` in /etc/os-release
    :param version: `VERSION_ID` in /etc/os-release
    :param tested: whether the checks of this project run on it; any other needs `allow_untested_os`
    :param base: packages of every host
    :param docker: packages of the engine and Compose v2, where neither is there yet
    :param nginx: packages of nginx with its JavaScript module, which stands between containers and Ollama
    :param driver_components: components of the distribution's own repository that the driver is in, where they are not
        those it comes configured with
    :param kernel_headers: package with the headers that the driver is built against, for amd64
    :param nvidia_driver: packages of the driver (550 or newer) and its persistence daemon
    :param container_toolkit: packages that give containers their GPUs
    """

    id: str
    version: str
    tested: bool
    base: tuple[str, ...]
    docker: tuple[str, ...]
    nginx: tuple[str, ...]
    driver_components: tuple[str, ...]
    kernel_headers: str
    nvidia_driver: tuple[str, ...]
    container_toolkit: tuple[str, ...]

    def __post_init__(self) -> None:
        with checking(f"System {self.id} {self.version}") as check:
            check.name("id", self.id)
            for component in self.driver_components:
                check.name("driver_components", component)
            for key in ("base", "docker", "nginx", "nvidia_driver", "container_toolkit"):
                for package in getattr(self, key):
                    check.matches(key, package, _PACKAGE, "a package name")
            check.matches("kernel_headers", self.kernel_headers, _PACKAGE, "a package name")

    @property
    def name(self) -> str:
        """How it is called in messages: "debian 13"."""
        return f"{self.id} {self.version}"

    @property
    def held(self) -> tuple[str, ...]:
        """Packages that only a person upgrades: a new driver wants a reboot, and its libraries must match."""
        return self.nvidia_driver + self.container_toolkit


@dataclass(frozen=True, kw_only=True)
class AptRepository(Declaration):
    """A package repository beside the distribution's own.

    :param name: file name in /etc/apt/sources.list.d and /etc/apt/keyrings
    :param uri: where it is
    :param suite: suite, or "/" for a flat repository
    :param components: components; none for a flat repository
    :param key_url: its signing key
    """

    name: str
    uri: str
    suite: str
    key_url: str
    components: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        with checking(f"AptRepository {self.name}") as check:
            check.name("name", self.name)
            for key in ("uri", "key_url"):
                check.that(
                    str(getattr(self, key)).startswith("https://"),
                    key,
                    getattr(self, key),
                    "an https:// address",
                )


@dataclass(frozen=True, kw_only=True)
class DockerSettings(Declaration):
    """What /etc/docker/daemon.json says (requirements 11.5).

    Coolify's installer keeps the file only where it finds address pools and log settings, so they are written here.

    :param log_max_size: size at which a container's log is rotated
    :param log_max_file: logs kept of each container
    :param storage_driver: storage driver
    :param shm_size: /dev/shm of a container that does not ask for more
    :param build_cache: what the builder's garbage collector keeps
    :param address_pool: networks from which Compose projects get theirs
    :param address_pool_size: prefix length of each
    :param live_restore: containers run on while the daemon restarts
    """

    log_max_size: str
    log_max_file: int
    storage_driver: str
    shm_size: str
    build_cache: str
    address_pool: str
    address_pool_size: int
    live_restore: bool

    def __post_init__(self) -> None:
        with checking("docker") as check:
            check.matches("log_max_size", self.log_max_size, _SIZE, 'a size such as "10m"')
            check.integer("log_max_file", self.log_max_file, 1, 100)
            check.name("storage_driver", self.storage_driver)
            check.memory("shm_size", self.shm_size)
            check.matches("build_cache", self.build_cache, _BUILD_CACHE, 'a size such as "5GB"')
            try:
                pool = ipaddress.ip_network(self.address_pool)
            except ValueError:
                check.that(False, "address_pool", self.address_pool, "a network such as 10.0.0.0/8")
            else:
                check.integer(
                    "address_pool_size", self.address_pool_size, pool.prefixlen, pool.max_prefixlen - 2
                )


@dataclass(frozen=True, kw_only=True)
class Paths(Declaration):
    """Where things are on the host.

    :param config: our settings that are no service's own
    :param state: what has been given to the host, and the memory of the watchdog
    :param stacks: one folder for each Compose project
    :param scripts: scripts that cron runs
    :param logs: their logs
    :param locks: their locks
    :param swap_file: disk swap
    :param ollama_env: one environment file for each Ollama instance
    :param ollama_home: home of the user ollama
    :param ollama_models: the store of models that all instances share
    """

    config: str
    state: str
    stacks: str
    scripts: str
    logs: str
    locks: str
    swap_file: str
    ollama_env: str
    ollama_home: str
    ollama_models: str

    def __post_init__(self) -> None:
        with checking("paths") as check:
            for field in fields(self):
                check.path(field.name, getattr(self, field.name))


@dataclass(frozen=True, kw_only=True)
class Thresholds(Declaration):
    """Limits of the GPU watchdog, and of the preflight before each phase (requirements 2.1 and 10.4).

    :param disk_free_gib: disk that must be free before a phase begins, in GiB
    :param disk_refuse_percent: disk used from which no phase begins; the watch alerts at `Watch.disk_alert_percent`
    :param gpu_vram_percent: memory used on a card
    :param gpu_vram_runs: looks at it, five minutes apart, in a row; a model being exchanged fills a card for moments
    :param gpu_xid_quiet_min: minutes without another driver error (Xid) after which one is over
    :param ollama_answer_s: seconds an Ollama instance may take to answer
    """

    disk_free_gib: int
    disk_refuse_percent: int
    gpu_vram_percent: int
    gpu_vram_runs: int
    gpu_xid_quiet_min: int
    ollama_answer_s: int

    def __post_init__(self) -> None:
        with checking("thresholds") as check:
            for field in fields(self):
                most = 100 if field.name.endswith("_percent") else 1_000_000
                check.integer(field.name, getattr(self, field.name), 1, most)

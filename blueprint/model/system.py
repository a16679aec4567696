"""The operating system under everything: packages, Docker's settings, cron jobs, paths, thresholds."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated

from blueprint.model import types
from blueprint.model.declaration import Conflict, Declaration, conflicts, declaration
from blueprint.validation import Whole


@declaration()
class System(Declaration):
    """An operating system that can be provisioned, and the names of its packages.

    :param id: `ID` in /etc/os-release
    :param version: `VERSION_ID` in /etc/os-release
    :param tested: whether the checks of this project run on it; any other needs `allow_untested_os`
    :param base: packages of every host
    :param docker: packages of the engine and Compose v2, where neither is there yet
    :param nginx: packages of nginx with its JavaScript module, the filter between containers and Ollama
    :param driver_components: components of the distribution's own repository that have the driver, besides the
        configured ones
    :param kernel_headers: package with the headers that the driver is built against, for amd64
    :param nvidia_driver: packages of the driver (550 or newer) and its persistence daemon
    :param container_toolkit: packages that give containers their GPUs
    """

    id: types.Name
    version: str
    tested: bool
    base: tuple[types.PackageName, ...]
    docker: tuple[types.PackageName, ...]
    nginx: tuple[types.PackageName, ...]
    driver_components: tuple[types.Name, ...]
    kernel_headers: types.PackageName
    nvidia_driver: tuple[types.PackageName, ...]
    container_toolkit: tuple[types.PackageName, ...]

    @property
    def name(self) -> str:
        """How it is called in messages: "debian 13"."""
        return f"{self.id} {self.version}"

    @property
    def held(self) -> tuple[str, ...]:
        """Packages that only a person upgrades: a new driver wants a reboot, and its libraries must match."""
        return self.nvidia_driver + self.container_toolkit


@declaration()
class AptRepository(Declaration):
    """A package repository beside the distribution's own.

    :param name: file name in /etc/apt/sources.list.d and /etc/apt/keyrings
    :param uri: where it is
    :param suite: suite, or "/" for a flat repository
    :param components: components; none for a flat repository
    :param key_url: its signing key
    """

    name: types.Name
    uri: types.HttpsUrl
    suite: str
    key_url: types.HttpsUrl
    components: tuple[str, ...] = ()


@declaration()
class DockerSettings(Declaration):
    """Settings of /etc/docker/daemon.json (requirements 11.5).

    Coolify's installer keeps the file only where it finds address pools and log settings, so they are written here.

    :param log_max_size: size at which a container's log is rotated
    :param log_max_file: logs kept of each container
    :param storage_driver: storage driver
    :param shm_size: default size of /dev/shm
    :param build_cache: size that the builder's garbage collector keeps
    :param address_pool: networks from which Compose projects get theirs
    :param address_pool_size: prefix length of each
    :param live_restore: containers run on while the daemon restarts
    """

    log_max_size: types.LogSize
    log_max_file: Annotated[int, Whole(1, 100)]
    storage_driver: types.Name
    shm_size: types.MemorySize
    build_cache: types.CacheSize
    address_pool: types.Network
    address_pool_size: int
    live_restore: bool

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        pool = ipaddress.ip_network(self.address_pool)
        least, most = pool.prefixlen, pool.max_prefixlen - 2
        if not least <= self.address_pool_size <= most:
            yield Conflict("address_pool_size", f"a whole number from {least} to {most}")


@declaration()
class Paths(Declaration):
    """Where things are on the host.

    :param config: settings of the host that belong to no service
    :param state: records of the host's phases, and the memory of the watchdog
    :param stacks: one folder for each Compose project
    :param scripts: scripts that cron runs
    :param logs: their logs
    :param locks: their locks
    :param swap_file: disk swap
    :param ollama_env: one environment file for each Ollama instance
    :param ollama_home: home of the user ollama
    :param ollama_models: the store of models that all instances share
    """

    config: types.OwnPath
    state: types.OwnPath
    stacks: types.OwnPath
    scripts: types.OwnPath
    logs: types.OwnPath
    locks: types.OwnPath
    swap_file: types.OwnPath
    ollama_env: types.OwnPath
    ollama_home: types.OwnPath
    ollama_models: types.OwnPath

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        owners: dict[str, str] = {}
        for key, path in self.to_json().items():
            if (owner := owners.setdefault(path, key)) != key:
                yield Conflict(key, f"a path of its own; {owner} has this one")


@declaration()
class Thresholds(Declaration):
    """Limits of the GPU watchdog, and of the preflight before each phase (requirements 2.1 and 10.4).

    :param disk_free_gib: disk that must be free before a phase begins, in GiB
    :param disk_refuse_percent: disk used from which no phase begins; the watch alerts at `Watch.disk_alert_percent`
    :param gpu_vram_percent: memory used on a card
    :param gpu_vram_runs: measurements above that in a row, five minutes apart; a change of models fills a card briefly
    :param gpu_xid_quiet_min: minutes without another driver error (Xid) after which one is over
    :param ollama_answer_s: seconds an Ollama instance may take to answer
    """

    disk_free_gib: types.Limit
    disk_refuse_percent: types.Percent
    gpu_vram_percent: types.Percent
    gpu_vram_runs: types.Limit
    gpu_xid_quiet_min: types.Limit
    ollama_answer_s: types.Limit

"""Compose projects ("stacks") as they are declared for a host."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from specs.files import Directory, Entry, File

COMPOSE_FILE = "compose.yaml"
# Label of a container: hash of everything that it was made from. Compose's own hash knows neither the contents of
# environment files nor those of mounted ones.
DIGEST = "stack.digest"

# The new file is validated with the environment files that belong to it: the changed ones lie beside it already. Where
# Compose cannot read one of those it quotes it, secrets included, after "line 3: …".
_VALIDATE = (
    'set -o pipefail; cd "$(dirname {{path}})" && cp --no-clobber -- {folder}/*.env . 2>/dev/null; '
    "docker compose --project-name {name} --file {file} config --quiet 2>&1 | sed -E 's/(line [0-9]+: [a-z ]*).*/\\1/'"
)
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_WORD = re.compile(r"[^\0-\x1f]+")


@dataclass(frozen=True)
class Build:
    """An image that is built on the host.

    :param folder: folder on this machine with a Dockerfile and what it copies
    :param args: build arguments; not for secrets, which would stay in the image
    """

    folder: Path
    args: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.folder / "Dockerfile").is_file():
            raise ValueError(f"{self.folder}: found no Dockerfile to build an image from")

    @cached_property
    def _context(self) -> list[tuple[str, bool, bytes]]:
        """Path, whether it is executable, and content of each file, in a stable order."""
        paths = sorted(
            path for path in self.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )
        return [
            (path.relative_to(self.folder).as_posix(), bool(path.stat().st_mode & 0o100), path.read_bytes())
            for path in paths
        ]

    @cached_property
    def digest(self) -> str:
        """Hash of all inputs of the build."""
        inputs = [
            [name, executable, hashlib.sha256(data).hexdigest()] for name, executable, data in self._context
        ]
        return _sha256([inputs, sorted(self.args.items())])

    def archive(self) -> str:
        """The folder as a tar archive in base64."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, executable, data in self._context:
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(data), 0o755 if executable else 0o644
                archive.addfile(info, io.BytesIO(data))
        return base64.encodebytes(stream.getvalue()).decode()


@dataclass(frozen=True)
class Limits:
    """What `docker update` can change of a container.

    :param memory: in bytes
    :param memory_swap: memory and swap together, in bytes
    :param cpus: processors to three digits (Compose rounds them), 0 for all of them
    :param pids: processes and threads, 0 for any number
    :param restart: its restart policy
    """

    memory: int
    memory_swap: int
    cpus: float
    pids: int
    restart: str


@dataclass(frozen=True)
class ComposeStack:
    """A Compose project in a folder of its own.

    Every service is named as its container, so that Compose adds no further name to the network, and has a health
    check, so that there is something to wait for.

    :param name: of the project
    :param folder: absolute path; only root can look into it
    :param project: what compose.yaml says but for the name, read literally: nothing is interpolated. Its limits are all
        given, sizes as whole numbers with b, k, m or g
    :param files: environment files (in the folder itself, named relative to it in `env_file`), mounted files, and the
        directories of these, with their absolute paths below the folder
    :param reload: for a container that reads its mounted files again, the command in it that does so; that of any other
        is recreated when they change
    :param stateful: containers that hold data
    :param networks: those of `project` that are without a way out; they are made where they are missing
    :param builds: how images that no registry has are built, by their references
    :param adopts: an earlier step renames containers of others under its names; while a run is only prepared, these
        count as gone
    """

    name: str
    folder: str
    project: Mapping[str, Any]
    files: tuple[Directory | File, ...] = ()
    reload: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stateful: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    builds: Mapping[str, Build] = field(default_factory=dict)
    adopts: bool = False

    def __post_init__(self) -> None:
        where = f"stack {self.name}"
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{where}: expected a name of lower-case letters, digits, - and _")
        for name, service in self.services.items():
            if service.get("container_name") != name:
                raise ValueError(f"{where}: service {name} must have that container_name")
            if "healthcheck" not in service:
                raise ValueError(f"{where}: service {name} has no healthcheck")
            if missing := sorted(set(self._environment(name)) - self.contents.keys()):
                raise ValueError(f"{where}: service {name} reads {missing[0]}, which is not declared")
        for entry in self.files:
            if PurePosixPath(self.folder) not in PurePosixPath(entry.path).parents:
                raise ValueError(f"{where}: {entry.path} is not below {self.folder}")
        for name in sorted(self.networks):
            if not NAME.fullmatch(name):
                raise ValueError(f"{where}: {name!r} is not a name for a network of Docker")
        for name in {*self.reload, *self.stateful} - self.services.keys():
            raise ValueError(f"{where}: has no service {name}")
        for name, command in self.reload.items():
            if not command or not all(_WORD.fullmatch(word) for word in command):
                raise ValueError(f"{where}: {command!r} is no command that {name} could be reloaded by")

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """Definitions by the names of their containers."""
        services: Mapping[str, Mapping[str, Any]] = self.project["services"]
        return services

    def networks_of(self, service: str) -> frozenset[str]:
        """What Docker calls the networks that a service is on."""
        named = self.project.get("networks", {})
        return frozenset(
            (named.get(key) or {}).get("name", key) for key in self.services[service].get("networks", ())
        )

    def limits_of(self, service: str) -> Limits:
        """The limits of a service."""
        return limits(self.services[service])

    @property
    def images(self) -> list[str]:
        """References of all images."""
        return list(dict.fromkeys(service["image"] for service in self.services.values()))

    def mounted(self, service: str) -> list[str]:
        """Declared files that a service has mounted, by themselves or with their folder."""
        sources = [
            volume["source"] for volume in self.services[service].get("volumes", ()) if "source" in volume
        ]
        return [path for path in self.contents if any(path == s or path.startswith(f"{s}/") for s in sources)]

    @property
    def contents(self) -> dict[str, File]:
        return {entry.path: entry for entry in self.files if isinstance(entry, File)}

    def _environment(self, service: str) -> list[str]:
        return [f"{self.folder}/{name}" for name in self.services[service].get("env_file", ())]

    def read_by(self, service: str) -> list[str]:
        """Files that a container is made from: its environment, and what it has mounted and does not read again."""
        mounted = [] if service in self.reload else self.mounted(service)
        return self._environment(service) + mounted

    def digest(self, service: str) -> str:
        """Hash of everything that a container is made from: what it is declared as, and the files that it reads."""
        read = self.read_by(service)
        contents = [[path, self.contents[path].sha256, self.contents[path].owner] for path in sorted(read)]
        return _sha256([self.services[service], contents])

    def compose(self) -> str:
        """compose.yaml: the project with the digest of each service as a label."""
        services = {
            name: {**service, "labels": {**service.get("labels", {}), DIGEST: self.digest(name)}}
            for name, service in self.services.items()
        }
        document = literal({"name": self.name, **self.project, "services": services})
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)

    def entries(self) -> list[Entry]:
        """Everything in its folder, and the folders themselves."""
        path = f"{self.folder}/{COMPOSE_FILE}"
        validate = _VALIDATE.format(folder=self.folder, name=self.name, file=COMPOSE_FILE)
        return [
            Directory(str(PurePosixPath(self.folder).parent), mode="0700"),
            Directory(self.folder, mode="0700"),
            *sorted(self.files, key=lambda entry: isinstance(entry, File)),
            File(path, self.compose(), validate=validate),
        ]


@dataclass(frozen=True)
class Outline:
    """The names of what a declared stack has on a host, which are known without its secrets.

    :param name: of the project
    :param containers: their names
    :param aliases: what they are called on the network besides
    :param paths: everything in its folder
    :param stateful: containers that hold data
    """

    name: str
    containers: frozenset[str]
    aliases: frozenset[str]
    paths: frozenset[str]
    stateful: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """Everything that its containers are called."""
        return self.containers | self.aliases


def limits(service: Mapping[str, Any]) -> Limits:
    """The limits in a service's definition."""
    return Limits(
        memory=_bytes(service.get("mem_limit", "0")),
        memory_swap=_bytes(service.get("memswap_limit", "0")),
        cpus=round(service.get("cpus", 0), 3),
        pids=service.get("pids_limit", 0),
        restart=service.get("restart", "no"),
    )


def _bytes(size: str) -> int:
    """Bytes of a size in Compose's notation: 512m."""
    digits, unit = size.rstrip("bkmg"), size[-1:]
    return int(digits) << 10 * max(0, "bkmg".find(unit))


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def literal(value: Any) -> Any:
    """A document in which Compose finds nothing to interpolate."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {literal(key): literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [literal(item) for item in value]
    return value

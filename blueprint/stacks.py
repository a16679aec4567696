"""The stacks of a host, from the declared ones: Compose project, environment files, mounted files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from blueprint.model import DockerSettings, GeneratedSecret, Http, Service, Stack
from blueprint.model.service import folder_of
from blueprint.model.types import fill
from blueprint.problems import DeclarationError, Violation
from blueprint.proxy import labels
from blueprint.secrets import Secrets
from specs.files import Directory, File
from specs.stacks import COMPOSE_FILE, Build, ComposeStack, Outline

_CHECKOUT = Path(__file__).resolve().parent.parent

# Clean-ups keep volumes with this label.
KEEP = {"keep": "true"}

# Seconds between two health checks while a service starts; by default Docker waits a whole interval for the first one.
_START_INTERVAL_S = 2

# Characters that every version of Compose reads literally without quotes.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:@%+=,?&~")


@dataclass(frozen=True)
class Content:
    """Content of a mounted file.

    :param secret: whether it is never shown
    """

    text: str | bytes = field(repr=False)
    secret: bool = True


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """Makes Compose's definitions of the services of a host, which have no secrets in them.

    :param root: parent of the folders of all stacks
    :param network: network of all containers
    :param docker: the engine's settings; each container repeats the log limits, because it keeps those of its creation
    :param uuids: full UUID of each card, by the declared one
    """

    root: str
    network: str
    docker: DockerSettings
    uuids: Mapping[str, str] = field(default_factory=dict)

    def definition(self, stack: Stack, service: Service) -> dict[str, Any]:
        """A service in the format of Compose; https://docs.docker.com/reference/compose-file/services/."""
        definition: dict[str, Any] = {
            "container_name": service.name,
            "hostname": service.name,
            "image": service.image,
            "restart": "unless-stopped",
            "env_file": [_environment_file(service)],
            "mem_limit": service.memory,
            "memswap_limit": f"{2 * service.memory_mib}m",
            "stop_grace_period": f"{service.stop_s}s",
            "networks": {
                name: {"aliases": list(service.names[1:])} for name in self.networks(stack, service)
            },
            "security_opt": ["no-new-privileges:true"],
            "cap_drop": ["ALL"],
            "pids_limit": service.pids,
            "healthcheck": healthcheck(service),
            "logging": {
                "driver": "json-file",
                "options": {"max-size": self.docker.log_max_size, "max-file": str(self.docker.log_max_file)},
            },
        }
        optional: dict[str, Any] = {
            "entrypoint": list(service.entrypoint),
            "command": list(service.command),
            "user": service.user,
            "cap_add": sorted(service.cap_add),
            "read_only": not service.writable,
            "tmpfs": list(_temporary(service)),
            "cpus": service.cpus,
            "shm_size": service.shm_size,
            "extra_hosts": ["host.docker.internal:host-gateway"] if service.host_gateway else None,
            "ports": list(_ports(service)),
            "volumes": list(_mounts(f"{self.root}/{stack.name}", service)),
            "depends_on": {other: {"condition": "service_healthy"} for other in service.depends_on},
            "labels": labels(service, self.network),
            "deploy": self._card(service.gpu) if service.gpu else None,
        }
        return definition | {key: value for key, value in optional.items() if value}

    def networks(self, stack: Stack, service: Service) -> list[str]:
        """The networks of a service."""
        own = [private_network(stack.name)] if stack.private & {service.name, *service.depends_on} else []
        joined = [private_network(other) for other in service.joins]
        return list(dict.fromkeys([*([] if service.private else [self.network]), *own, *joined]))

    def _card(self, gpu: str) -> dict[str, Any]:
        device = {"driver": "nvidia", "device_ids": [self.uuids[gpu]], "capabilities": ["gpu"]}
        return {"resources": {"reservations": {"devices": [device]}}}


@dataclass(frozen=True, kw_only=True)
class Resolver(Definitions):
    """Makes the stacks of a host from the declared ones.

    :param secrets: the environment's
    :param formats: formats of the generated secrets that are more than passwords
    """

    secrets: Secrets
    formats: tuple[GeneratedSecret, ...] = ()

    def resolve(
        self,
        stack: Stack,
        contents: Mapping[str, Content] | None = None,
    ) -> ComposeStack:
        """The stack of the host. Missing generated secrets are generated.

        :param contents: content of each mounted file, by its path in the stack's folder
        :raises DeclarationError: a provided secret is missing, or an environment file cannot hold a value
        """
        contents = contents or {}
        folder = f"{self.root}/{stack.name}"
        volumes = {name: None for service in stack.services for name in service.volumes}
        networks = {name: None for service in stack.services for name in self.networks(stack, service)}
        project: dict[str, Any] = {
            "services": {service.name: self.definition(stack, service) for service in stack.services},
            "networks": {name: {"name": name, "external": True} for name in networks},
        }
        if volumes:
            project["volumes"] = {name: {"name": volume(stack, name), "labels": KEEP} for name in volumes}
        return ComposeStack(
            name=stack.name,
            folder=folder,
            project=project,
            files=(
                *(Directory(path, mode="0700", owner=owner) for path, owner in _directories(folder, stack)),
                *(
                    _private_file(f"{folder}/{_environment_file(service)}", self._environment(service))
                    for service in stack.services
                ),
                *_mounted_files(folder, stack, contents),
            ),
            reload={service.name: service.reload for service in stack.services if service.reload},
            stateful=frozenset(service.name for service in stack.services if service.stateful),
            networks=frozenset(networks) - {self.network},
            builds={
                service.image: Build(_CHECKOUT / service.build, service.build_args)
                for service in stack.services
                if service.build
            },
            adopts=True,  # phases/adoption.py, before every phase
        )

    def secret(self, name: str) -> str:
        """A generated secret in its declared format."""
        form = next((form for form in self.formats if form.name == name), GeneratedSecret(name))
        return self.secrets.generated(name, form.make)

    def _environment(self, service: Service) -> str:
        if missing := self.secrets.missing(service.provided_secrets.values()):
            raise DeclarationError(missing)
        values = {variable: str(value) for variable, value in service.env.items()}
        values |= {
            variable: str(self.secrets.provided(name)) for variable, name in service.provided_secrets.items()
        }
        known = {name: self.secret(name) for name in sorted(service.secrets_used)}
        encoded = {name: quote(value, safe="") for name, value in known.items()}
        for variable, text in service.generated_secrets.items():
            values[variable] = fill(text, encoded if "{" in text else known)
        return environment_file(values, service.name)


def outline(root: str, stack: Stack) -> Outline:
    """What a stack has on a host, by name alone.

    :param root: parent of the folders of all stacks
    """
    folder = f"{root}/{stack.name}"
    paths = [
        f"{folder}/{COMPOSE_FILE}",
        *(path for path, _ in _directories(folder, stack)),
        *(f"{folder}/{_environment_file(service)}" for service in stack.services),
        *(f"{folder}/{file}" for service in stack.services for file in service.files),
    ]
    return Outline(
        stack.name,
        frozenset(service.name for service in stack.services),
        frozenset(alias for service in stack.services for alias in service.names[1:]),
        frozenset(paths),
        frozenset(service.name for service in stack.services if service.stateful),
    )


def volume(stack: Stack, name: str) -> str:
    """Docker's name of a stack's volume."""
    return f"{stack.name}_{name}"


def private_network(stack: str) -> str:
    """Docker's name of a stack's private network."""
    return f"{stack}_private"


def healthcheck(service: Service) -> dict[str, Any]:
    """The health check of a service."""
    health = service.health
    if health is None:
        raise ValueError(f"{service.name} has no health")  # the declaration refuses this
    return {
        "test": ["CMD", *(_probe(service, health) if isinstance(health, Http) else health.command)],
        "interval": f"{health.interval_s}s",
        "timeout": f"{health.timeout_s}s",
        "retries": health.retries,
        "start_period": f"{health.start_s}s",
        "start_interval": f"{min(_START_INTERVAL_S, health.interval_s)}s",
    }


def _probe(service: Service, health: Http) -> list[str]:
    """A command that requests a URL without any proxy of the environment, and exits 0 for a status below 400."""
    url = f"http://127.0.0.1:{health.port or service.port}{health.path}"
    seconds = health.timeout_s
    match health.probe:
        case "curl":
            quiet = ["--silent", "--show-error", "--output", "/dev/null"]
            return ["curl", "--fail", *quiet, "--noproxy", "*", "--max-time", str(seconds), url]
        case "node":
            return [
                "node",
                "-e",
                f"fetch('{url}').then(a => process.exit(a.status < 400 ? 0 : 1), () => process.exit(1))",
            ]
        case "wget":  # options that busybox also has
            return ["env", "-u", "http_proxy", "wget", "-q", "-T", str(seconds), "-O", "/dev/null", url]
        case _:
            opener = "urllib.request.build_opener(urllib.request.ProxyHandler({}))"
            return ["python3", "-c", f"import urllib.request; {opener}.open('{url}', timeout={seconds})"]


def environment_file(values: Mapping[str, str], service: str) -> str:
    """Variables in the format of Compose's `env_file`, each with its literal value.

    Compose interpolates text outside of single quotes, and takes "\\'" for a quote inside of them. So a text that ends
    in a backslash, or has one before a quote, cannot be written.

    :param service: service with these variables, for messages
    :raises DeclarationError: for such a text
    """
    problems = [
        Violation("secrets", f"{service}.{variable}", "a text with \\' or with \\ at its end", "one without")
        for variable, value in values.items()
        if not fits_environment_file(value)
    ]
    if problems:
        raise DeclarationError(problems)
    return "".join(f"{variable}={_quoted(value)}\n" for variable, value in values.items())


def fits_environment_file(value: str) -> bool:
    """Whether `environment_file` can write a text."""
    return "\\'" not in value and not value.endswith("\\")


def _quoted(value: str) -> str:
    if value and _PLAIN.issuperset(value):
        return value
    return "'" + value.replace("'", "\\'") + "'"


def environment_path(root: str, stack: Stack, service: Service) -> str:
    """Path of a service's environment file on the host.

    :param root: parent of the folders of all stacks
    """
    return f"{root}/{stack.name}/{_environment_file(service)}"


def _environment_file(service: Service) -> str:
    return f"{service.name}.env"


def _ports(service: Service) -> list[str]:
    ports = [f"127.0.0.1:{service.publish}:{service.port}"] if service.publish else []
    ports += [f"{port}:{port}" for port in service.public]
    return ports + [f"{port}:{port}/udp" for port in service.public_udp]


def _mounts(folder: str, service: Service) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"type": "volume", "source": name, "target": target} for name, target in service.volumes.items()
    ]
    bound = dict(service.host_paths)
    for file, target in service.files.items():
        if (
            service.reload
        ):  # the folder, because a replaced file that is itself mounted does not reach the container
            bound[f"{folder}/{folder_of(file)}"] = folder_of(target)
        else:
            bound[f"{folder}/{file}"] = target
    return mounts + [
        {
            "type": "bind",
            "source": source,
            "target": target,
            "read_only": True,
            "bind": {"create_host_path": False},
        }
        for source, target in bound.items()
    ]


def _temporary(service: Service) -> Iterator[str]:
    """Writable folders of a read-only container: /tmp, and the declared ones."""
    if service.writable:
        return
    size = f"size={service.tmp_mib}m"
    for path, options in {"/tmp": "mode=1777", **service.tmpfs}.items():  # noqa: S108 - a folder of the container
        yield f"{path}:{','.join(filter(None, (size, options)))}"


def _directories(folder: str, stack: Stack) -> list[tuple[str, str]]:
    directories: dict[str, str] = {}
    for service in stack.services:
        for file in service.files:
            parts = folder_of(file).split("/")
            for depth in range(1, len(parts) + 1):
                directories[f"{folder}/{'/'.join(parts[:depth])}"] = str(service.files_uid)
    return sorted(directories.items())


def _mounted_files(folder: str, stack: Stack, contents: Mapping[str, Content]) -> list[File]:
    owners = {file: str(service.files_uid) for service in stack.services for file in service.files}
    if missing := sorted(owners.keys() - contents.keys()):
        raise ValueError(f"stack {stack.name}: found no content for {', '.join(missing)}")
    return [
        _private_file(f"{folder}/{file}", contents[file].text, owner, contents[file].secret)
        for file, owner in owners.items()
    ]


def _private_file(path: str, content: str | bytes, owner: str = "0", secret: bool = True) -> File:
    return File(path, content, mode="0600", owner=owner, secret=secret)

"""The command line: Traefik's static configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

KNOWN = (
    *("entrypoints.", "providers.docker", "providers.file.", "certificatesresolvers.", "ping", "api", "log"),
    *("accesslog", "global.", "metrics", "serverstransport."),
)


class OptionError(ValueError):
    """An option that Traefik would not start with."""


@dataclass
class Options:
    """What the command line says.

    `redirects` leads from an entry point to the one that it sends everybody to; Let's Encrypt asks at `challenge`.
    """

    entrypoints: dict[str, int] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    docker: bool = False
    endpoint: str = "/var/run/docker.sock"
    exposed_by_default: bool = True
    network: str = ""
    files: str = ""
    resolvers: dict[str, str] = field(default_factory=dict)
    challenge: str = ""
    ping: str = ""


def parse(arguments: Iterable[str]) -> Options:
    """:raises OptionError: Traefik does not know an option, or needs another one with it"""
    options = Options()
    for argument in arguments:
        if not argument.startswith("--"):
            raise OptionError(f"command not found: {argument}")
        name, separator, value = argument[2:].partition("=")
        name, value = name.lower(), value if separator else "true"
        if not name.startswith(KNOWN):
            raise OptionError(f"failed to decode configuration from flags: field not found, node: {name}")
        _apply(options, name.split("."), value)
    options.entrypoints = options.entrypoints or {"http": 80}
    if options.ping:
        options.entrypoints.setdefault("traefik", 8080) if options.ping == "traefik" else None
        if options.ping not in options.entrypoints:
            raise OptionError(f"entryPoint {options.ping!r} of ping is not defined")
    if options.challenge and options.challenge not in options.entrypoints:
        raise OptionError(f"entryPoint {options.challenge!r} of the HTTP challenge is not defined")
    for source, target in options.redirects.items():
        if target not in options.entrypoints:
            raise OptionError(f"entryPoint {target!r}, to which {source!r} redirects, is not defined")
    return options


def _apply(options: Options, name: list[str], value: str) -> None:
    match name:
        case ["entrypoints", entrypoint, "address"]:
            port = value.rpartition(":")[2].partition("/")[0]
            if not port.isdigit():
                raise OptionError(f"error opening listener: address {value}: missing port")
            options.entrypoints[entrypoint] = int(port)
        case ["entrypoints", entrypoint, "http", "redirections", "entrypoint", "to"]:
            options.redirects[entrypoint] = value
        case ["providers", "docker"]:
            options.docker = value.lower() == "true"
        case ["providers", "docker", "exposedbydefault"]:
            options.docker, options.exposed_by_default = True, value.lower() == "true"
        case ["providers", "docker", "network"]:
            options.docker, options.network = True, value
        case ["providers", "docker", "endpoint"]:
            options.docker, options.endpoint = True, value.removeprefix("unix://")
        case ["providers", "file", "directory" | "filename"]:
            options.files = value
        case ["certificatesresolvers", resolver, "acme", "storage"]:
            options.resolvers[resolver] = value
        case ["certificatesresolvers", resolver, "acme", "httpchallenge", "entrypoint"]:
            options.resolvers.setdefault(resolver, "")
            options.challenge = value
        case ["certificatesresolvers", resolver, *_]:
            options.resolvers.setdefault(resolver, "")
        case ["ping"]:
            options.ping = (options.ping or "traefik") if value.lower() == "true" else ""
        case ["ping", "entrypoint"]:
            options.ping = value

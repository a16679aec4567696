"""Routes of the services' domains: labels for Coolify's proxy, a file for our own (requirements 11.2).

Both configure Traefik alike: https://doc.traefik.io/traefik/v3.6/reference/routing-configuration/. Coolify's
proxy reads labels from the engine. Ours reads a file, so that it needs no access to the engine's socket, which is as
powerful as root.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from blueprint.model import Service

# Entry points and certificate resolver of Coolify's proxy (https://coolify.io/docs/core/networking/proxy/traefik/overview).
HTTP, HTTPS, RESOLVER = "http", "https", "letsencrypt"

# The file of our own proxy, in the folder of its stack.
ROUTES = "traefik/routes.yaml"


def labels(service: Service, network: str) -> dict[str, str]:
    """Labels with which Coolify's proxy serves a service's domains.

    :param network: network on which the proxy reaches the service
    """
    if not service.domains:
        return {}
    found = {"traefik.enable": "true", "traefik.docker.network": network}
    for kind, named in _rules(service).items():
        for name, settings in named.items():
            found |= _flat(f"traefik.http.{kind}.{name}".lower(), settings)
    return found | {
        f"traefik.http.services.{service.name}.loadbalancer.server.port": str(service.served_port)
    }


def routes_yaml(services: Iterable[Service]) -> str:
    """The file with which our own proxy serves the domains of services, each at its name on the network.

    It has no health checks: with one server behind each domain, a check could only replace the server's own error by a
    less specific one.
    """
    http: dict[str, dict[str, Any]] = {"routers": {}, "middlewares": {}, "services": {}}
    for service in services:
        if not service.domains:
            continue
        for kind, named in _rules(service).items():
            http[kind] |= named
        servers = [{"url": f"http://{service.name}:{service.served_port}"}]
        http["services"][service.name] = {"loadBalancer": {"servers": servers}}
    # Traefik refuses a file with one of these empty.
    return yaml.safe_dump({"http": http} if http["routers"] else {}, sort_keys=False, width=1000)


def _rules(service: Service) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Routers and middlewares of a service: TLS, and a redirect to it."""
    name, redirect = service.name, f"{service.name}-https"
    rule = " || ".join(f"Host(`{domain}`)" for domain in service.domains)
    plain = {"entryPoints": [HTTP], "rule": rule, "middlewares": [redirect], "service": name}
    secure = {"entryPoints": [HTTPS], "rule": rule, "tls": {"certResolver": RESOLVER}, "service": name}
    return {
        "routers": {f"{name}-http": plain, name: secure},
        "middlewares": {redirect: {"redirectScheme": {"scheme": "https"}}},
    }


def _flat(prefix: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as labels, which have lower-case names and lists with commas."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}.{key.lower()}"
        if isinstance(value, Mapping):
            found |= _flat(name, value)
        else:
            found[name] = ",".join(value) if isinstance(value, list) else str(value)
    return found

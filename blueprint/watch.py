"""Settings of the watch, which follow from the phases that the host has."""

from __future__ import annotations

import json
from collections.abc import Callable

from blueprint import redis
from blueprint.alert import alert
from blueprint.applied import Applied
from blueprint.backup import Login, all_pieces
from blueprint.model import Gateway, PostgresData, RedisData

# Names of the files below `Paths.config`.
SETTINGS = "watch.json"
CREDENTIALS = "watch-credentials.json"


def direct_groups(gateway: Gateway) -> list[str]:
    """Models whose answers are no fallbacks: no chain of ours leads to them, so projects call them by name."""
    ours = {model.name for model in gateway.models if model.instance}
    fallbacks = {target for name in ours for target in gateway.fallbacks.get(name, ())}
    return [model.name for model in gateway.models if model.name not in ours | fallbacks]


def settings_json(applied: Applied, host: str) -> str:
    """/etc/sourcefast/watch.json, without a secret in it; `backup.credentials_json` makes the other file.

    :param applied: the phases that the host has, whose services are measured
    :param host: name of the host in messages
    """
    blueprint = applied.blueprint
    paths, watch, backups = blueprint.paths, blueprint.watch, blueprint.backups
    limits = {name: value for name, value in watch.to_json().items() if isinstance(value, int)}
    servers = [service.name for service in applied.services if isinstance(service.data, RedisData)]
    value = {
        "state": f"{paths.state}/watch",
        "credentials": f"{paths.config}/{CREDENTIALS}",
        "alert": alert(paths, host),
        "limits": limits | {"backup_age_h": backups.max_age_h},
        "disks": ["/", "/var/lib/docker", backups.root],
        "proc": "/proc",
        "modules": "/lib/modules",
        "reboot_required": "/run/reboot-required",
        "containers": _containers(applied),
        "postgres": [service.name for service in applied.services if isinstance(service.data, PostgresData)],
        "redis": servers,
        "litellm": _litellm(applied),
        "celery": [
            {"container": server, "index": project.broker}
            for server in servers
            for project in applied.projects
            if project.broker is not None
        ],
        "caches": [
            {"container": server, "index": index, "allowed": allowed}
            for server in servers
            for index, allowed in watch.caches.items()
        ],
        "backups": {"root": backups.root, "pieces": all_pieces(applied)},
        "certificates": {"address": "127.0.0.1", "port": 443, "domains": domains(applied)},
    }
    return json.dumps(value, indent=2) + "\n"


def logins(applied: Applied, secret: Callable[[str], str]) -> dict[str, Login]:
    """Logins of the watch: a read-only user of each Redis, and the superuser of each Postgres, on its own socket.

    :param secret: a secret by its name
    """
    found: dict[str, Login] = {}
    for service in applied.services:
        match service.data:
            case PostgresData(superuser=user):
                found[service.name] = Login(user, "")
            case RedisData():
                found[service.name] = Login(redis.MONITOR, secret(f"redis/{redis.MONITOR}"))
    return found


def _containers(applied: Applied) -> list[dict[str, object]]:
    """Each container that is there on every host: whether Uptime Kuma watches it, and whether it has data."""
    monitored = {monitor.name for monitor in applied.monitors}
    return [
        {"name": service.name, "monitored": service.name in monitored, "stateful": service.stateful}
        for stack in applied.stacks
        if not stack.skip_if_running  # Coolify's may be in its place
        for service in stack.services
    ]


def domains(applied: Applied) -> list[str]:
    """Domains for which the proxy has a certificate; none on a host without our proxy."""
    proxied = any(service.public for service in applied.services)
    return sorted({domain for service in applied.services for domain in service.domains}) if proxied else []


def _litellm(applied: Applied) -> dict[str, object] | None:
    blueprint = applied.blueprint
    for service in applied.services:
        if service.name == blueprint.gateway.container and service.database is not None:
            return {
                "container": blueprint.pgbouncer.host,
                "database": service.database,
                "ollama": {str(instance.port): instance.name for instance in blueprint.ollama_instances},
                "direct": [*direct_groups(blueprint.gateway), *blueprint.watch.direct_groups],
            }
    return None

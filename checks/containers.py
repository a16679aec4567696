"""What a container has to be, in the words of `docker inspect`, from Compose's definition of it."""

from __future__ import annotations

from typing import Any

from blueprint.compose import completed
from blueprint.model import Service, Stack
from blueprint.stacks import Definitions, volume
from checks.server import Server

MIB = 1024**2
_SECONDS = 10**9


def docker(server: Server) -> Any:
    """Answer of probes/containers.py."""
    public = {service.name: sorted(service.env) for service in server.applied.services}
    return server.probe("containers.py", public)


def stacks(server: Server) -> list[Stack]:
    """The stacks of the host's phases, without those whose work a running container of somebody else does."""
    if not server.applied.stacks:
        return []
    running = {name for name, one in docker(server)["containers"].items() if one["status"] == "running"}
    return [stack for stack in server.applied.stacks if stack.skip_if_running not in running]


def stack_of(server: Server, service: Service) -> Stack:
    """The stack that a service is of."""
    return next(stack for stack in server.applied.stacks if service in stack.services)


def definition(server: Server, service: Service) -> dict[str, Any]:
    """Compose's definition of a service, without secrets."""
    blueprint = server.blueprint
    definitions = Definitions(
        root=blueprint.paths.stacks,
        network=blueprint.coolify_network,
        docker=blueprint.docker,
        uuids=server.uuids if service.gpu else {},
    )
    return definitions.definition(stack_of(server, service), completed(blueprint, service))


def security(declared: dict[str, Any]) -> dict[str, object]:
    """What its processes may do."""
    return {
        "privileged": False,
        "namespaces": {"Pid": "", "Ipc": "private", "UTS": "", "Userns": ""},
        "host_devices": [],
        "security": declared["security_opt"],
        "cap_drop": declared["cap_drop"],
        "cap_add": declared.get("cap_add", []),
        "read_only": declared.get("read_only", False),
        "tmpfs": dict(one.split(":", 1) for one in declared.get("tmpfs", ())),
        "devices": [
            one["device_ids"]
            for one in declared.get("deploy", {})
            .get("resources", {})
            .get("reservations", {})
            .get("devices", ())
        ],
    }


def mounts(stack: Stack, declared: dict[str, Any]) -> list[dict[str, object]]:
    """Its volumes and the host's files in it."""
    return sorted(
        (
            {
                "type": one["type"],
                "source": volume(stack, one["source"]) if one["type"] == "volume" else one["source"],
                "target": one["target"],
                "writable": not one.get("read_only", False),
            }
            for one in declared.get("volumes", ())
        ),
        key=lambda one: str(one["target"]),
    )


def ports(declared: dict[str, Any]) -> dict[str, list[str]]:
    """The host's addresses that lead to its ports."""
    found: dict[str, list[str]] = {}
    for one in declared.get("ports", ()):
        text, _, protocol = one.partition("/")
        *host, inside = text.rsplit(":", 1)
        outside = host[0] if ":" in host[0] else f":{host[0]}"
        found.setdefault(f"{inside}/{protocol or 'tcp'}", []).append(outside)
    return {key: sorted(value) for key, value in found.items()}


def networks(service: Service, declared: dict[str, Any]) -> dict[str, list[str]]:
    """Its networks, with its names on each."""
    return {
        name: sorted({service.name, *settings["aliases"]}) for name, settings in declared["networks"].items()
    }


def healthcheck(declared: dict[str, Any]) -> dict[str, object]:
    """How the engine finds it healthy, in nanoseconds."""
    keys = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start_period": "StartPeriod",
        "start_interval": "StartInterval",
    }
    check = declared["healthcheck"]
    return {
        "Test": check["test"],
        "Retries": check["retries"],
        **{
            named: int(check[key].removesuffix("s")) * _SECONDS
            for key, named in keys.items()
            if check[key] != "0s"
        },
    }

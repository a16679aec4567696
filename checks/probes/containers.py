"""Containers, images and networks of the engine, asked on the host; standard library only.

Argument: JSON, for each container the names of its variables that are no secrets. Of the others, only their names and
whether they are empty leave the host.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def docker(*arguments: str) -> str:
    """Output of the client; its complaint ends this program."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def inspected(kind: str, names: Sequence[str]) -> list[Any]:
    """Everything that the engine knows of some objects of a kind."""
    return json.loads(docker(kind, "inspect", *names)) if names else []


def container(found: Mapping[str, Any], public: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the checks need of a container."""
    name = found["Name"].removeprefix("/")
    variables = dict(pair.partition("=")[::2] for pair in found["Config"]["Env"] or ())
    host, config, state = found["HostConfig"], found["Config"], found["State"]
    return {
        "image": config["Image"],
        "image_id": found["Image"],
        "labels": config["Labels"] or {},
        "entrypoint": config["Entrypoint"],
        "command": config["Cmd"],
        "user": config["User"],
        "hostname": config["Hostname"],
        "healthcheck": config.get("Healthcheck"),
        "stop_s": config.get("StopTimeout"),
        "status": state["Status"],
        "health": (state.get("Health") or {}).get("Status"),
        "health_output": ((state.get("Health") or {}).get("Log") or [{}])[-1].get("Output", "")[-300:],
        "exit_code": state["ExitCode"],
        "oom_killed": state["OOMKilled"],
        "restarts": found["RestartCount"],
        "memory": host["Memory"],
        "memory_swap": host["MemorySwap"],
        "cpus": round(host["NanoCpus"] / 10**9, 3),
        "pids": host["PidsLimit"],
        "shm_size": host["ShmSize"],
        "restart": host["RestartPolicy"]["Name"],
        "privileged": host["Privileged"],
        "network_mode": host["NetworkMode"],
        "namespaces": {kind: host[f"{kind}Mode"] for kind in ("Pid", "Ipc", "UTS", "Userns")},
        "host_devices": [one["PathOnHost"] for one in host["Devices"] or ()],
        "security": host["SecurityOpt"] or [],
        "cap_add": [one.removeprefix("CAP_") for one in host["CapAdd"] or ()],
        "cap_drop": host["CapDrop"] or [],
        "read_only": host["ReadonlyRootfs"],
        "tmpfs": host.get("Tmpfs") or {},
        "ports": {
            inside: sorted(f"{one['HostIp']}:{one['HostPort']}" for one in bindings or ())
            for inside, bindings in (host["PortBindings"] or {}).items()
        },
        "extra_hosts": host["ExtraHosts"] or [],
        "devices": [one["DeviceIDs"] for one in host["DeviceRequests"] or ()],
        "log": host["LogConfig"],
        "mounts": [
            {
                "type": one["Type"],
                "source": one.get("Name") or one["Source"],
                "target": one["Destination"],
                "writable": one["RW"],
            }
            for one in found["Mounts"]
        ],
        "networks": {
            network: sorted(set(one["Aliases"] or ()) - {found["Id"][:12]})
            for network, one in found["NetworkSettings"]["Networks"].items()
        },
        "variables": {
            variable: value if variable in public.get(name, ()) else bool(value)
            for variable, value in variables.items()
        },
    }


def main(public: Mapping[str, Sequence[str]]) -> None:
    """Print everything."""
    ids = docker("ps", "--all", "--quiet", "--no-trunc").split()
    networks = inspected("network", docker("network", "ls", "--quiet", "--no-trunc").split())
    images = inspected("image", sorted(set(docker("image", "ls", "--quiet", "--no-trunc").split())))
    info = json.loads(docker("info", "--format", "json"))
    json.dump(
        {
            "containers": {
                found["Name"].removeprefix("/"): container(found, public)
                for found in inspected("container", ids)
            },
            "networks": {
                found["Name"]: {"driver": found["Driver"], "internal": found["Internal"]}
                for found in networks
            },
            "images": {
                found["Id"]: {"tags": found["RepoTags"] or [], "digests": found["RepoDigests"] or []}
                for found in images
            },
            "engine": {
                key: info[key]
                for key in (
                    "ServerVersion",
                    "Driver",
                    "LiveRestoreEnabled",
                    "LoggingDriver",
                    "Runtimes",
                    "DefaultAddressPools",
                    "DockerRootDir",
                    "CgroupVersion",
                    "Warnings",
                    "SecurityOptions",
                )
                if key in info
            },
        },
        sys.stdout,
    )


main(json.loads(sys.argv[1]))

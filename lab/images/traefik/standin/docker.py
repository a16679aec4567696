"""What runs, from Docker's API on its socket."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from .routing import Container


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def containers(endpoint: str) -> list[Container]:
    """All running containers.

    :param endpoint: path of the socket
    :raises OSError: Docker does not answer
    """
    connection = _Connection(endpoint)
    try:
        connection.request("GET", "/containers/json")
        answer = connection.getresponse()
        content: Any = json.loads(answer.read())
    except http.client.HTTPException as error:
        raise OSError(str(error)) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"Docker answers {answer.status}: {content}")
    return [_container(each) for each in content]


def _container(listed: dict[str, Any]) -> Container:
    status = str(listed.get("Status", ""))
    networks = (listed.get("NetworkSettings") or {}).get("Networks") or {}
    return Container(
        name=str(listed["Names"][0]).lstrip("/"),
        labels=listed.get("Labels") or {},
        networks={name: str(each["IPAddress"]) for name, each in networks.items() if each.get("IPAddress")},
        # Traefik leaves out containers that are not healthy yet, or no longer.
        ready="(unhealthy)" not in status and "(health: starting)" not in status,
    )

"""Every wire of every backend works (requirements 2.2, 7, 8 and 9)."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from lab.machine import Machine
from tests.projects.conftest import PROJECTS

# What answers over HTTP and has the shared environment.
BACKENDS = [
    (service.name, service.port)
    for project in PROJECTS
    for service in project.services
    if service.port is not None
]


@pytest.mark.checklist("2.9", "4.2", "5.2", "6.3")
@pytest.mark.parametrize(("name", "port"), BACKENDS)
def test_every_wire_of_a_backend_works(
    machine: Machine, forward: Callable[[str, int], int], name: str, port: int
) -> None:
    """Its own database through the pooler, its index, its key: the container tries them with its environment."""
    network = "{{.NetworkSettings.Networks.coolify.IPAddress}}"
    address = machine.run(f"docker inspect --format '{network}' {name}").stdout.strip()
    answer = httpx.get(f"http://127.0.0.1:{forward(address, port)}/api/health", timeout=60, trust_env=False)
    wires = answer.json()["wires"]
    assert {wire: output for wire, output in wires.items() if not output["ok"]} == {}
    assert wires.keys() >= {"postgres", "postgres-direct", "redis", "llm"}
    uses_whisper = next(
        project.uses_whisper for project in PROJECTS if name in [one.name for one in project.services]
    )
    assert ("whisper" in wires) == uses_whisper

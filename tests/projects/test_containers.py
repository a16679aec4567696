"""Every container of the projects runs as it is declared, and every wire of it works (requirements 2.2, 7, 8 and 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lab.machine import Machine
from tests.host.conftest import cards
from tests.projects.conftest import PROJECTS
from tests.services.declared import everything

Containers = Callable[[], dict[str, Any]]
SERVICES = {
    service.name: service
    for project in PROJECTS
    for service in everything().stacks_of(project.phase)[0].services
}
# What answers over HTTP and has the shared environment.
BACKENDS = [
    (service.name, service.port)
    for project in PROJECTS
    for service in project.services
    if service.port is not None
]


@pytest.mark.checklist("4.5", "5.5", "6.4")
def test_all_are_there_and_healthy(containers: Containers) -> None:
    found = containers()
    assert found.keys() == SERVICES.keys()
    assert {name: one["State"]["Health"]["Status"] for name, one in found.items()} == dict.fromkeys(
        found, "healthy"
    )


@pytest.mark.checklist("F.13")
def test_each_has_the_memory_that_is_declared(containers: Containers) -> None:
    limits = {name: service.memory_mib for name, service in SERVICES.items()}
    assert {name: one["HostConfig"]["Memory"] // 2**20 for name, one in containers().items()} == limits


def test_the_worker_of_voicejury_has_its_card_by_the_full_uuid_and_nobody_else_has_one(
    machine: Machine, containers: Containers
) -> None:
    declared = {name: service.gpu for name, service in SERVICES.items() if service.gpu}
    requests = {
        name: one["HostConfig"]["DeviceRequests"][0]["DeviceIDs"]
        for name, one in containers().items()
        if one["HostConfig"]["DeviceRequests"]
    }
    assert requests == {
        name: [card for card in cards(machine) if card.startswith(uuid)] for name, uuid in declared.items()
    }


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
    transcribes = next(
        project.uses_whisper for project in PROJECTS if name in [one.name for one in project.services]
    )
    assert ("whisper" in wires) == transcribes


def test_nothing_of_a_project_is_published(containers: Containers) -> None:
    assert [name for name, one in containers().items() if one["HostConfig"]["PortBindings"]] == []


def test_environment_files_are_of_root_alone_and_no_password_is_in_an_argument(machine: Machine) -> None:
    files = " ".join(f"/opt/sourcefast/{project.name}/*.env" for project in PROJECTS)
    assert set(machine.run(f"stat --format '%a %U' {files}").stdout.splitlines()) == {"600 root"}
    passwords = machine.run(
        f"cat {files} | grep -o '://[^@]*@' | cut -d: -f3 | tr -d @ | sort -u"
    ).stdout.split()
    assert len(passwords) > len(PROJECTS)
    arguments = machine.run("ps axww -o args").stdout
    assert not [password for password in passwords if password in arguments]

"""What a project reaches of the host itself, tried from its own container under every address of the host."""

from __future__ import annotations

from group_data.all import container_tcp_ports
from group_data.gpu import ollama_instances, whisper
from lab.machine import Machine
from tests.host.conftest import REACHES, host_addresses, listening_ports
from tests.services.tenants import Tenant

TRY = REACHES + "print(json.dumps(reaches(**arguments)))"
# A hoster's metadata service, a neighbour without an address of his own, neighbours as a group.
LINK = ["169.254.169.254", "169.254.1.1", "224.0.0.251"]


def test_projects_reach_of_the_host_what_is_listed(machine: Machine, tenants: list[Tenant]) -> None:
    addresses, listens = host_addresses(machine), listening_ports(machine)
    assert machine.lab.machine in addresses and len(addresses) > 2, (
        "the world's, and those of containers' networks"
    )
    listed = {*container_tcp_ports, *(instance.port for instance in ollama_instances)}
    assert {22, whisper.port} < listens - listed, "or there would be nothing to keep from them"
    # Ollama is served to containers at one of these only.
    expected = {address: sorted(listed & listening_ports(machine, address)) for address in addresses}
    assert {port for ports in expected.values() for port in ports} == listed
    found = {
        tenant.project.name: tenant.python(TRY, addresses=addresses, ports=sorted(listens))
        for tenant in tenants
    }
    assert found == {each.project.name: expected for each in tenants}


def test_projects_reach_no_address_of_the_link(tenants: list[Tenant]) -> None:
    found = {
        tenant.project.name: tenant.python(TRY, addresses=LINK, ports=[22, 53, 80, 443]) for tenant in tenants
    }
    assert found == {each.project.name: {address: [] for address in LINK} for each in tenants}

"""What the world reaches, tried from a stranger's host on the server's own network (requirements 11.6)."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from group_data.all import container_tcp_ports, open_tcp_ports, open_udp_ports
from group_data.gpu import ollama_instances, whisper
from lab.machine import Machine
from lab.network import outside_namespace
from tests.host.conftest import (
    REACHES,
    Deploy,
    Outside,
    await_answer,
    await_true,
    host_addresses,
    listening_ports,
    python_in_container,
)

OURS = "iptables-save | grep HOST-; ip6tables-save | grep HOST-"
SCAN = str(Path(__file__).with_name("scan.py"))


@contextmanager
def listening(machine: Machine, *ports: int) -> Iterator[None]:
    """Programs that listen on all addresses.

    In units of names of their own: systemd forgets a stopped one only some time after it stopped.
    """
    units = {port: f"listener-{port}-{secrets.token_hex(4)}" for port in ports}
    for port, unit in units.items():
        machine.run(f"systemd-run --quiet --collect --unit={unit} python3 -m http.server --bind :: {port}")
    try:
        await_true(lambda: set(ports) <= listening_ports(machine), 60, f"listeners on {ports}")
        yield
    finally:
        machine.run(f"systemctl stop {' '.join(units.values())}", check=False)


@pytest.fixture
def listeners(machine: Machine) -> Iterator[None]:
    """On the open ports that SSH does not have, and on some that must stay closed."""
    with listening(machine, *set(open_tcp_ports) - {22}, 5432, 8000, 65535):
        yield


def scan(outside: Outside, address: str, protocol: str = "tcp") -> set[int]:
    done = outside(sys.executable, SCAN, address, protocol, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(map(int, done.stdout.split()))


def reached(machine: Machine, outside: Outside) -> dict[str, set[int]]:
    """What a stranger reaches: all ports of TCP, the usual ones of UDP, over both families."""
    addresses = {"IPv4": machine.lab.machine, "IPv6": machine.lab.address6(2)}
    return {
        f"{protocol} over {family}": scan(outside, address, protocol)
        for family, address in addresses.items()
        for protocol in ("tcp", "udp")
    }


def declared_open() -> dict[str, set[int]]:
    """What he is meant to reach, where something listens on each."""
    ports = {"tcp": set(open_tcp_ports), "udp": set(open_udp_ports)}
    return {
        f"{protocol} over {family}": ports[protocol]
        for family in ("IPv4", "IPv6")
        for protocol in ("tcp", "udp")
    }


@pytest.fixture
def published(machine: Machine) -> Iterator[None]:
    """A container that publishes a port to the world."""
    image = machine.run("docker inspect --format '{{.Image}}' shared-whisper").stdout.strip()
    serve = f"--entrypoint python3 {image} -m http.server 80"
    machine.run(f"docker run -d --rm --init --name published -p 4000:80 {serve}")
    try:
        await_true(
            lambda: machine.run("curl -fso /dev/null http://127.0.0.1:4000/", check=False).returncode == 0,
            120,
            "answer on the published port from the host itself",
        )
        yield
    finally:
        machine.run("docker rm -f published")


@pytest.mark.usefixtures("listeners", "published")
def test_a_stranger_reaches_ssh_and_the_web_only(machine: Machine, outside: Outside) -> None:
    assert reached(machine, outside) == declared_open()


# All ways to clear "the firewall". `nft flush ruleset` is the second one: there are no other tables,
# and the program itself belongs to no package of ours.
FLUSHES = {
    # With the policy that Docker gives the chain at the first boot.
    "iptables -F": "iptables -P FORWARD DROP; iptables -F; ip6tables -F",
    "nft flush ruleset": (
        "for family in iptables ip6tables; do for table in raw mangle nat filter; do "
        "$family -t $table -F; $family -t $table -X; done; "
        "for chain in INPUT FORWARD; do $family -P $chain ACCEPT; done; done"
    ),
}


@pytest.mark.usefixtures("listeners", "published")
@pytest.mark.parametrize("flush", FLUSHES)
def test_a_flush_and_a_restart_of_docker_open_nothing(machine: Machine, outside: Outside, flush: str) -> None:
    machine.run(f"{FLUSHES[flush]}; systemctl reset-failed docker; systemctl restart docker")
    assert reached(machine, outside) == declared_open()
    await_answer(machine, whisper.unit)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("flush", FLUSHES)
def test_a_run_puts_back_what_was_flushed(
    machine: Machine, deploy: Deploy, outside: Outside, flush: str
) -> None:
    """Ours by its script, Docker's by its restart: without those, containers neither reach nor are reached."""
    with listening(machine, 8002):
        machine.run(FLUSHES[flush])
        assert not reaches_the_internet(machine), "or there would be nothing to put back"
        again = deploy()
        assert "Phase 0: hardware | Docker | Settings of the engine" in again.changed, again.output
        assert [port for port in (4000, 8002) if reaches(machine, outside, port)] == []
    assert reaches_the_internet(machine)
    assert machine.run("curl -fsS -o /dev/null http://127.0.0.1:4000/", check=False).returncode == 0
    assert deploy().changed == []


def reaches(machine: Machine, outside: Outside, port: int) -> bool:
    """Whether a stranger has any answer from a port, over either family."""
    addresses = (machine.lab.machine, f"[{machine.lab.address6(2)}]")
    tried = [
        outside("curl", "-sS", "--noproxy", "*", "--max-time", "3", f"http://{address}:{port}/")
        for address in addresses
    ]
    return any(each.returncode != 28 for each in tried)


def reaches_the_internet(machine: Machine) -> bool:
    connect = "import socket, sys; socket.create_connection((sys.argv[1], 443), 3)"
    return python_in_container(machine, connect, machine.lab.upstream).returncode == 0


def test_it_repairs_itself(machine: Machine, outside: Outside) -> None:
    """Every minute, as the timer of its unit says; Docker's rules are left to a run."""
    assert machine.run("systemctl is-active host-firewall-repair.timer").stdout.strip() == "active"
    machine.run("iptables -t mangle -F; ip6tables -t mangle -F INPUT")
    with listening(machine, 8002):
        machine.run("systemctl start host-firewall-repair.service")
        assert not reaches(machine, outside, 8002)
    answer = machine.run("journalctl --unit=host-firewall-repair --since=-2min --output=cat").stdout
    assert "iptables: INPUT of mangle did not come to HOST-INPUT: it does now" in answer


def test_a_neighbour_does_not_reach_a_container_by_routing_to_it(machine: Machine, outside: Outside) -> None:
    inside = machine.run(
        "docker inspect --format '{{.NetworkSettings.Networks.coolify.IPAddress}}' shared-whisper"
    ).stdout.strip()
    route = ("ip", "route", "replace", f"{inside}/32", "via", machine.lab.machine)
    assert outside(*route).returncode == 0
    try:
        tried = outside("curl", "-sS", "--noproxy", "*", "--max-time", "3", f"http://{inside}:9000/docs")
        assert tried.returncode in (7, 28), tried.stdout + tried.stderr
    finally:
        outside("ip", "route", "delete", f"{inside}/32")


HOST_GATEWAY = "--network coolify --add-host host.docker.internal:host-gateway"


def test_containers_reach_ollama_and_whisper(machine: Machine) -> None:
    urls = [f"http://host.docker.internal:{instance.port}/api/version" for instance in ollama_instances]
    urls.append("http://shared-whisper:9000/docs")
    fetch = "import sys, urllib.request as u; [u.urlopen(url, timeout=5).read() for url in sys.argv[1:]]"
    done = python_in_container(machine, fetch, *urls, options=HOST_GATEWAY)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("listeners", "published")
def test_containers_reach_of_the_host_what_is_listed(machine: Machine) -> None:
    """Whichever of its addresses they ask: of their own network, of another, the one that the world knows."""
    addresses, listens = host_addresses(machine), listening_ports(machine)
    assert machine.lab.machine in addresses and len(addresses) > 2, "the containers' bridges as well"
    assert {22, 4000, whisper.port} < listens, "or there would be nothing to keep from them"
    program = REACHES + "print(json.dumps(reaches(*json.loads(sys.argv[1]))))"
    asked = json.dumps([addresses, sorted(listens)])
    done = python_in_container(machine, program, asked, options=HOST_GATEWAY)
    assert done.returncode == 0, done.stderr
    listed = {*container_tcp_ports, *(instance.port for instance in ollama_instances)}
    found = json.loads(done.stdout)
    assert found == {each: sorted(listed & listening_ports(machine, each)) for each in addresses}
    assert listed == {port for ports in found.values() for port in ports}


def test_containers_reach_no_address_of_the_link(machine: Machine, outside: Outside) -> None:
    """A hoster's metadata service, with passwords, simulated by a stranger with that address."""
    metadata = "169.254.169.254"
    connect = f"import socket; socket.create_connection(('{metadata}', 80), 3)"
    assert outside("ip", "address", "replace", f"{metadata}/32", "dev", "eth0").returncode == 0
    serving = subprocess.Popen(
        ["ip", "netns", "exec", outside_namespace(machine.lab), sys.executable, "-m", "http.server", "80"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        asked = f"curl -fsS -o /dev/null --max-time 3 http://{metadata}/"
        await_true(lambda: machine.run(asked, check=False).returncode == 0, 30, "answer to the host itself")
        done = python_in_container(machine, connect)
        assert "timed out" in done.stderr, done.stdout + done.stderr
    finally:
        serving.kill()
        serving.wait()
        outside("ip", "address", "delete", f"{metadata}/32", "dev", "eth0")


def test_a_restart_of_docker_leaves_the_firewall(machine: Machine, outside: Outside) -> None:
    before = machine.run(OURS).stdout
    machine.run("systemctl reset-failed docker; systemctl restart docker")
    await_answer(machine, whisper.unit)
    assert machine.run(OURS).stdout == before

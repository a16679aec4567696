"""What the world reaches, tried from a stranger's host on the server's own network (the notes' section 11.6)."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from group_data.all import open_tcp_ports
from group_data.gpu import ollama_instances, whisper
from tests.host.conftest import Deploy, Outside, await_answer, await_true, python_in_container
from tests.lab.machine import Machine

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
        await_true(lambda: set(ports) <= _listening(machine), 60, f"listeners on {ports}")
        yield
    finally:
        machine.run(f"systemctl stop {' '.join(units.values())}", check=False)


@pytest.fixture
def listeners(machine: Machine) -> Iterator[None]:
    """On the web's ports, and on some that nobody should reach."""
    with listening(machine, 80, 443, 5432, 8000, 65535):
        yield


def _listening(machine: Machine) -> set[int]:
    lines = machine.run("ss -Hltn | awk '{print $4}'").stdout.split()
    return {int(line.rpartition(":")[2]) for line in lines}


def scan(outside: Outside, address: str) -> set[int]:
    done = outside(sys.executable, SCAN, address, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(map(int, done.stdout.split()))


@pytest.mark.usefixtures("listeners")
@pytest.mark.parametrize("family", ["v4", "v6"])
def test_a_stranger_reaches_ssh_and_the_web_only(machine: Machine, outside: Outside, family: str) -> None:
    address = machine.lab.machine if family == "v4" else machine.lab.address6(2)
    assert scan(outside, address) == set(open_tcp_ports)


def test_a_stranger_does_not_reach_a_published_port(machine: Machine, outside: Outside) -> None:
    image = machine.run("docker inspect --format '{{.Image}}' shared-whisper").stdout.strip()
    serve = f"--entrypoint python3 {image} -m http.server 80"
    machine.run(f"docker run -d --rm --init --name published -p 4000:80 {serve}")
    try:
        await_true(
            lambda: machine.run("curl -fso /dev/null http://127.0.0.1:4000/", check=False).returncode == 0,
            120,
            "answer on the published port from the host itself",
        )
        for address in (machine.lab.machine, f"[{machine.lab.address6(2)}]"):
            tried = outside("curl", "-sS", "--noproxy", "*", "--max-time", "3", f"http://{address}:4000/")
            assert tried.returncode in (7, 28), tried.stdout + tried.stderr
    finally:
        machine.run("docker rm -f published")


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


def test_containers_do_not_reach_the_hosts_other_ports(machine: Machine) -> None:
    connect = "import socket; socket.create_connection(('host.docker.internal', 8001), 3)"
    with listening(machine, 8001):
        done = python_in_container(machine, connect, options=HOST_GATEWAY)
    assert done.returncode != 0
    assert "timed out" in done.stderr, done.stderr


def test_flushed_chains_are_put_back(machine: Machine, deploy: Deploy, outside: Outside) -> None:
    machine.run("iptables -F HOST-INPUT; ip6tables -D INPUT -j HOST-INPUT")
    with listening(machine, 8002):
        deploy()
        for address in (machine.lab.machine, f"[{machine.lab.address6(2)}]"):
            tried = outside("curl", "-sS", "--noproxy", "*", "--max-time", "3", f"http://{address}:8002/")
            assert tried.returncode == 28, tried.stdout + tried.stderr


def test_a_restart_of_docker_leaves_the_firewall(machine: Machine, outside: Outside) -> None:
    before = machine.run("iptables-save -t filter | grep HOST-; ip6tables-save | grep HOST-").stdout
    machine.run("systemctl reset-failed docker; systemctl restart docker")
    await_answer(machine, whisper.unit)
    assert machine.run("iptables-save -t filter | grep HOST-; ip6tables-save | grep HOST-").stdout == before

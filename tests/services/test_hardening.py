"""What a container could do to the host or to others if a program in it were taken over: no more than it declares."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from blueprint.model import Service
from lab.machine import Machine
from tests.host.conftest import without_cron
from tests.services.declared import everything
from tests.services.tenants import Tenant

SERVICES: Mapping[str, Service] = {service.name: service for service in everything().services}
WHISPER = everything().blueprint.whisper
# Numbers of capabilities in Linux; https://www.man7.org/linux/man-pages/man7/capabilities.7.html.
CAPABILITIES = {
    **{"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "SETGID": 6, "SETUID": 7},
    **{"NET_BIND_SERVICE": 10, "NET_RAW": 13},
}
SCRATCH = "scratch-hardening"


@pytest.fixture(scope="module")
def containers(machine: Machine) -> dict[str, Any]:
    """What Docker says of all containers, by name."""
    output = json.loads(machine.run("docker inspect $(docker ps --quiet)").stdout)
    return {one["Name"].removeprefix("/"): one for one in output}


def test_every_container_is_ours(containers: dict[str, Any]) -> None:
    assert containers.keys() == {*SERVICES, WHISPER.name}


def test_nobody_has_the_engine_s_socket_or_a_folder_of_the_system(containers: dict[str, Any]) -> None:
    mounted = {
        f"{name}: {mount['Source']}"
        for name, one in containers.items()
        for mount in one["Mounts"]
        if mount["Type"] == "bind"
    }
    assert mounted
    assert {one for one in mounted if "/opt/sourcefast/" not in one and "nvidia" not in one} == set()


@pytest.fixture(scope="module")
def processes(machine: Machine) -> dict[str, list[dict[str, str]]]:
    """The kernel's account of every process of every container, by the container's name."""
    output = machine.run(
        "for name in $(docker ps --format '{{.Names}}'); do for pid in $(docker top $name -eo pid | tail -n +2); do "
        "echo \"@@$name\"; grep -E '^(Uid|CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/$pid/status; "
        "done; done 2>/dev/null"
    ).stdout
    found: dict[str, list[dict[str, str]]] = {}
    for block in output.split("@@")[1:]:
        name, *lines = block.splitlines()
        status = {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines}
        if status:  # some have ended since
            found.setdefault(name, []).append(status)
    return found


@pytest.mark.parametrize("name", [*SERVICES, WHISPER.name])
def test_no_process_has_more_than_that(processes: dict[str, list[dict[str, str]]], name: str) -> None:
    service = SERVICES.get(name)
    allowed = sum(1 << CAPABILITIES[one] for one in (service.cap_add if service else ()))
    assert processes[name]
    for status in processes[name]:
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        for kind in ("CapBnd", "CapPrm", "CapEff"):
            assert int(status[kind], 16) & ~allowed == 0, kind


def test_only_who_declares_it_runs_as_root(processes: dict[str, list[dict[str, str]]]) -> None:
    as_root = {name for name, found in processes.items() for status in found if "0" in status["Uid"].split()}
    # One that begins as root may have become another by now.
    assert as_root <= {WHISPER.name, *(name for name, one in SERVICES.items() if one.root)}
    assert "uptime-kuma" not in as_root


@pytest.fixture
def scratch(machine: Machine) -> Iterator[None]:
    """Scratch containers and their files are gone afterwards."""
    with without_cron(machine):
        yield
    machine.run(f"docker rm -f {SCRATCH} >/dev/null 2>&1; rm -rf /root/{SCRATCH}", check=False)


def test_a_setuid_program_gains_nothing(machine: Machine, scratch: None, tenants: list[Tenant]) -> None:
    folder = f"/root/{SCRATCH}"
    machine.run(f"mkdir -p {folder} && install -m 4755 /usr/bin/id {folder}/id")
    image = machine.run(f"docker inspect --format '{{{{.Image}}}}' {tenants[0].container}").stdout.strip()

    def becomes(*options: str) -> str:
        run = (
            "docker",
            "run",
            "--rm",
            "--network",
            "none",
            "--user",
            "1000:1000",
            "--volume",
            f"{folder}:/x:ro",
        )
        return machine.run(shlex.join([*run, *options, "--entrypoint", "/x/id", image, "-u"])).stdout.strip()

    # Without the option it would be root: so the program is one that could.
    assert becomes() == "0"
    options = json.loads(
        machine.run(
            f"docker inspect --format '{{{{json .HostConfig.SecurityOpt}}}}' {tenants[0].container}"
        ).stdout
    )
    assert becomes(*(word for option in options for word in ("--security-opt", option))) == "1000"


def test_a_fork_bomb_ends_in_its_container(machine: Machine, scratch: None, tenants: list[Tenant]) -> None:
    name = tenants[0].container
    limit = SERVICES[name].pids
    image = machine.run(f"docker inspect --format '{{{{.Image}}}}' {name}").stdout.strip()
    # It stops by itself, far from what the host could bear, where nothing else stops it.
    bomb = f"""
import os, signal
count = 0
while count < {2 * limit}:
    try:
        if os.fork() == 0:
            signal.pause()
    except OSError as error:
        print(count, error.errno, flush=True)
        break
    count += 1
else:
    print(count, 0, flush=True)
os._exit(0)
"""
    run = (
        f"docker run --name {SCRATCH} --network none --memory 512m --pids-limit {limit} --entrypoint python3"
    )
    output = machine.run(f"{run} {image} -c {shlex.quote(bomb)}", timeout=120).stdout.split()
    assert output[1] == "11", f"forked {output[0]} times, and nothing refused it"
    assert limit - 10 < int(output[0]) < limit
    machine.run("true")


@pytest.mark.parametrize("number", range(len(everything().projects)))
def test_a_project_writes_nowhere_but_where_it_should(tenants: list[Tenant], number: int) -> None:
    found = tenants[number].python(
        """
        import errno
        found = {}
        for folder in ("/app", "/usr/local/bin", "/etc", "/var/tmp", os.path.expanduser("~"), "/tmp"):
            try:
                with open(folder + "/written-by-a-test", "w") as file:
                    file.write("x")
                os.remove(folder + "/written-by-a-test")
                found[folder] = "written"
            except OSError as error:
                found[folder] = errno.errorcode[error.errno]
        print(json.dumps(found))
        """
    )
    assert found.pop("/tmp") == "written"  # noqa: S108 - the folder of a container
    assert set(found.values()) == {"EROFS"}

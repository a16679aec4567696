"""The engine as it runs, not as its file says: settings, cards, limits, network, restarts (requirements 4.5 and 11)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from group_data.all import coolify_network, docker
from group_data.gpu import whisper
from lab.machine import Machine
from tests.host.conftest import Deploy, await_answer, await_true, cards, python_in_container


def test_a_container_gets_the_declared_defaults(machine: Machine) -> None:
    image = machine.run("docker inspect --format '{{.Image}}' shared-whisper").stdout.strip()
    machine.run(f"docker create --name defaults {image}")
    try:
        config = json.loads(machine.run("docker inspect --format '{{json .HostConfig}}' defaults").stdout)
    finally:
        machine.run("docker rm defaults")
    assert config["ShmSize"] == 32 * 1024**2
    assert config["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": docker.log_max_size, "max-file": str(docker.log_max_file)},
    }


def test_a_new_network_is_cut_from_the_declared_pool(machine: Machine) -> None:
    network = json.loads(machine.run(f"docker network inspect {coolify_network}").stdout)[0]
    assert network["Driver"] == "bridge"
    assert not network["Internal"]
    assert network["IPAM"]["Config"][0]["Subnet"].startswith("10.")


def test_containers_of_the_network_find_each_other_by_name(machine: Machine) -> None:
    resolve = "import socket; print(socket.gethostbyname('shared-whisper'))"
    done = python_in_container(machine, resolve)
    assert done.returncode == 0, done.stderr
    inside = "{{.NetworkSettings.Networks.coolify.IPAddress}}"
    assert done.stdout == machine.run(f"docker inspect --format '{inside}' shared-whisper").stdout


def test_a_container_gets_the_card_it_asks_for(machine: Machine) -> None:
    show = "import os; print(os.environ['NVIDIA_VISIBLE_DEVICES'])"
    for uuid in cards(machine):
        # The image, whisper's, asks for a newer driver.
        options = f"--gpus '\"device={uuid}\"' --env NVIDIA_DISABLE_REQUIRE=1"
        done = python_in_container(machine, show, options=options)
        assert done.stdout.strip() == uuid, done.stderr


@pytest.mark.parametrize("wrong", ["GPU-d4fb9c68", "GPU-00000000-0000-0000-0000-000000000000", "7"])
def test_docker_refuses_a_card_that_is_not_there(machine: Machine, wrong: str) -> None:
    """A prefix of a real UUID is refused too: that is why the deploy writes the full one."""
    done = python_in_container(machine, "print('ran')", options=f"--gpus '\"device={wrong}\"'")
    assert done.returncode == 125, done.stdout + done.stderr
    assert "unknown device" in done.stderr, done.stderr


def test_a_container_that_takes_more_than_its_limit_is_killed(machine: Machine) -> None:
    """Whisper's limit is this very mechanism with a larger number."""
    taken = "print(len(bytearray(int(__import__('sys').argv[1]) << 20)))"
    options = "--memory 64m --memory-swap 64m"
    assert python_in_container(machine, taken, "16", options=options).returncode == 0
    assert python_in_container(machine, taken, "256", options=options).returncode == 137


@pytest.fixture
def detached(machine: Machine) -> Iterator[str]:
    """A container that runs in the background; gives its name."""
    image = machine.run("docker inspect --format '{{.Image}}' shared-whisper").stdout.strip()
    serve = f"--entrypoint python3 {image} -m http.server 80"
    machine.run(f"docker run -d --init --name detached --network coolify {serve}")
    try:
        await_true(lambda: _answers(machine, "detached"), 120, "answer of the container")
        yield "detached"
    finally:
        machine.run("docker rm -f detached")


def _answers(machine: Machine, container: str) -> bool:
    address = machine.run(
        f"docker inspect --format '{{{{.NetworkSettings.Networks.coolify.IPAddress}}}}' {container}"
    ).stdout.strip()
    return machine.run(f"curl -fso /dev/null http://{address}/", check=False).returncode == 0


def process_of(machine: Machine, container: str) -> str:
    return machine.run(
        f"docker inspect --format '{{{{.State.Pid}}}} {{{{.State.StartedAt}}}}' {container}"
    ).stdout


def test_containers_live_on_while_the_engine_restarts(machine: Machine, detached: str) -> None:
    before = process_of(machine, detached)
    machine.run("systemctl reset-failed docker; systemctl restart docker")
    assert process_of(machine, detached) == before
    assert _answers(machine, detached)
    # Its client is the unit's process, so it ends with the engine, and comes back with it.
    await_answer(machine, whisper.unit)


@pytest.fixture
def edited_settings(machine: Machine) -> Iterator[None]:
    """daemon.json as a foreign installer leaves it: own keys, one of ours changed, one gone."""
    edit = (
        "import json, pathlib; p = pathlib.Path('/etc/docker/daemon.json'); d = json.loads(p.read_text()); "
        "d['dns'] = ['198.18.0.53']; d['log-opts']['labels'] = 'coolify'; d['log-opts']['max-size'] = '1m'; "
        "del d['runtimes']; p.write_text(json.dumps(d))"
    )
    machine.run(f'cp -a /etc/docker/daemon.json /run/daemon.json; python3 -c "{edit}"')
    yield
    machine.run("mv /run/daemon.json /etc/docker/daemon.json; systemctl reset-failed docker")
    machine.run("systemctl restart docker")
    await_answer(machine, whisper.unit)


@pytest.mark.usefixtures("edited_settings")
def test_settings_of_others_are_kept_and_ours_come_back(
    machine: Machine, deploy: Deploy, detached: str
) -> None:
    before = process_of(machine, detached)
    done = deploy()
    assert "Phase 0: hardware | Docker | Settings of the engine" in done.changed, done.output
    settings = json.loads(machine.run("cat /etc/docker/daemon.json").stdout)
    assert settings["dns"] == ["198.18.0.53"]
    assert settings["log-opts"] == {"max-size": "10m", "max-file": "3", "labels": "coolify"}
    assert "nvidia" in json.loads(machine.run("docker info --format '{{json .Runtimes}}'").stdout)
    assert process_of(machine, detached) == before
    await_answer(machine, whisper.unit)


@pytest.mark.parametrize(
    ("by_hand", "output"),
    [
        # A foreign key that dockerd does not know: it stays, and dockerd's own validation refuses it.
        ("""sed -i '1a "no-such-key": 1,' {file}; sed -i s/10m/9m/ {file}""", "no-such-key"),
        ("sed -i 1d {file}", "found no JSON object"),
    ],
    ids=["refused by dockerd", "no JSON"],
)
def test_settings_that_the_engine_would_refuse_stay_as_they_are(
    machine: Machine, deploy: Deploy, by_hand: str, output: str
) -> None:
    machine.run("cp -a /etc/docker/daemon.json /run/daemon.json")
    machine.run(by_hand.format(file="/etc/docker/daemon.json"))
    try:
        broken = machine.run("cat /etc/docker/daemon.json").stdout
        started = machine.run("systemctl show --value -p InvocationID docker").stdout
        done = deploy()
        assert done.rc != 0
        assert output in done.output
        assert "failed   Phase 0: hardware | Docker | Settings of the engine" in done.output
        assert "Traceback" not in done.output
        assert machine.run("cat /etc/docker/daemon.json").stdout == broken
        assert machine.run("systemctl show --value -p InvocationID docker").stdout == started
    finally:
        machine.run("mv /run/daemon.json /etc/docker/daemon.json")

"""The provisioned lab: deployed once a session, looked at through real clients, broken and restored."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from group_data.all import paths
from group_data.gpu import ollama_instances, whisper
from lab import upstream
from lab.backends import server
from lab.machine import Machine
from lab.paths import CHECKOUT, Lab, lab

HARDWARE = ("--data", "phase=hardware")  # what the tests of this phase deploy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that begin with a bare machine go last, because the deployed one is shut down for them."""
    items.sort(key=lambda item: "bare" in getattr(item, "fixturenames", ()))


@dataclass(frozen=True)
class CompletedRun:
    """A finished pyinfra run. `output` is everything a person would have seen, `answer` what `--json` printed."""

    rc: int
    output: str
    answer: dict[str, Any]

    @property
    def changed(self) -> list[str]:
        """The operations that changed something, in their order: a test compares names, which say what it was."""
        assert self.rc == 0, self.output
        return [one["name"] for one in self.answer["results"]["operations"] if one["success"]]

    @property
    def planned(self) -> list[str]:
        """What a dry run would change."""
        return [one["name"] for one in self.answer["plan"] if one["hosts_with_change"]]


Deploy = Callable[..., CompletedRun]
Outside = Callable[..., subprocess.CompletedProcess[str]]
Forward = Callable[[str, int], int]
Telegrams = Callable[[], list[str]]


def pyinfra_command(*arguments: str, deploy: Sequence[str] = ("deploy.py", *HARDWARE)) -> list[str]:
    """pyinfra's command line on this project, with its answer as JSON.

    :param deploy: the deploy, and its constant arguments
    """
    # With -y pyinfra does not look for what would change, which is all that a dry run is for.
    sure = [] if "--dry" in arguments else ["-y"]
    program = str(Path(sys.executable).with_name("pyinfra"))
    return [program, "--json", *sure, "inventory.py", *deploy, *arguments]


def kill_after(command: Sequence[str], operation: str, words: str, patience_s: float = 900) -> str:
    """Start a deploy, and kill pyinfra when `operation` says `words`; gives what was said until then.

    :raises AssertionError: it has not said them within `patience_s`
    """
    run = subprocess.Popen(
        command,
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stderr is not None
    output, in_operation, found, deadline = "", False, False, time.monotonic() + patience_s
    for line in run.stderr:
        output += line
        if line.startswith("--> Starting operation"):
            in_operation = operation in line
        found = in_operation and words in line
        if found or time.monotonic() > deadline:
            break
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    run.stderr.close()
    assert found, f"{operation} never said {words!r}:\n{output}"
    return output


def run_pyinfra(
    *arguments: str, env: Mapping[str, str] | None = None, project: Path = CHECKOUT
) -> CompletedRun:
    """Deploy as a person would. Parameters as of `ended`."""
    return ended(pyinfra_command(*arguments), env, project)


def ended(
    command: Sequence[str], env: Mapping[str, str] | None = None, project: Path = CHECKOUT
) -> CompletedRun:
    """Run pyinfra to its end.

    :param env: variables in addition to this process'
    :param project: folder of the project
    """
    done = subprocess.run(
        command,
        cwd=project,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    try:
        return CompletedRun(done.returncode, done.stderr, json.loads(done.stdout))
    except json.JSONDecodeError:  # it stopped before there was anything to answer
        return CompletedRun(done.returncode, done.stdout + done.stderr, {})


@pytest.fixture(scope="session")
def the_lab() -> Lab:
    return lab()


@pytest.fixture(scope="session")
def machine(the_lab: Lab) -> Machine:
    """The lab's server, with everything deployed: the state that all tests begin with."""
    machine = server(the_lab)
    machine.start()
    done = run_pyinfra()
    assert done.rc == 0, done.output
    return machine


@pytest.fixture
def deploy(machine: Machine) -> Deploy:
    """Deploy again, with further arguments."""
    return run_pyinfra


@pytest.fixture(scope="session")
def in_its_place(machine: Machine) -> Iterator[Machine]:
    """Another machine in the place of the deployed one, which waits shut down meanwhile."""
    machine.stop()
    other = server(machine.lab, "bare")
    yield other
    other.scrap()
    machine.start()


@pytest.fixture(scope="module")
def bare(in_its_place: Machine) -> Machine:
    """A machine as it was delivered."""
    in_its_place.reset()
    return in_its_place


@pytest.fixture(scope="session")
def outside(machine: Machine) -> Outside:
    """Run a command on the stranger's host."""

    def run(*command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        space = f"{machine.lab.name}out"
        return subprocess.run(
            ["ip", "netns", "exec", space, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    return run


@pytest.fixture
def forward(machine: Machine) -> Iterator[Forward]:
    """Reach an address on the server through SSH; gives the local port."""
    processes: list[subprocess.Popen[bytes]] = []

    def open_forward(address: str, port: int) -> int:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            local = int(free.getsockname()[1])
        config = machine.lab.state / "ssh_config"
        alone = ["-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes"]
        command = ["ssh", "-F", str(config), *alone, "-N", "-L", f"127.0.0.1:{local}:{address}:{port}", "lab"]
        processes.append(subprocess.Popen(command))
        await_true(lambda: _listens(local), 60, f"an SSH forward to {address}:{port}")
        return local

    yield open_forward
    for process in processes:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def await_true(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until `condition` holds.

    :raises AssertionError: it does not within `seconds`
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        time.sleep(0.2)


def await_answer(machine: Machine, *units: str) -> None:
    """Wait until these units run, and what they serve on the loopback answers: they run before they listen.

    Both, since a container may answer for a moment longer than its unit runs.
    """
    pages = {whisper.unit: f"{whisper.port}/docs"}
    pages |= {instance.unit: f"{instance.port}/api/version" for instance in ollama_instances}
    for unit in units:
        asked = f"systemctl is-active --quiet {unit} && curl -fso /dev/null http://127.0.0.1:{pages[unit]}"
        await_true(partial(_succeeds, machine, asked), 300, f"answer of {unit}")


def _succeeds(machine: Machine, command: str) -> bool:
    return machine.run(command, check=False).returncode == 0


def await_healthy(machine: Machine) -> None:
    """Wait until Docker calls every container that runs healthy, and found each so when it last looked.

    Every one: who needs what was broken notices it only some time later, and its return, too.
    """
    health = "{{with .State.Health}}{{.Status}} {{.FailingStreak}}{{else}}healthy 0{{end}}"
    asked = f"docker ps --quiet | xargs docker inspect --format '{{{{.Name}}}} {health}'"

    def healthy() -> bool:
        output = machine.run(asked, check=False).stdout.splitlines()
        return bool(output) and all(line.endswith(" healthy 0") for line in output)

    await_true(healthy, 600, "health of every container")


@pytest.fixture
def telegrams(machine: Machine) -> Iterator[Telegrams]:
    """Texts that the simulated Telegram has taken since the test began, in order; it works again afterwards."""
    before = len(upstream.telegrams(machine.lab))
    yield lambda: [message["text"] for message in upstream.telegrams(machine.lab)[before:]]
    upstream.recover(machine.lab)


def python_in_container(
    machine: Machine, code: str, *arguments: str, options: str = "--network coolify"
) -> subprocess.CompletedProcess[str]:
    """Run Python in a new container on the server, from the image of shared-whisper, which has one.

    :param options: of `docker run`
    """
    image = machine.run("docker inspect --format '{{.Image}}' shared-whisper").stdout.strip()
    program = shlex.join([image, "-c", code, *arguments])
    return machine.run(f"docker run --rm {options} --entrypoint python3 {program}", check=False)


# For programs in containers: which of `ports` accept a connection at each of `addresses`. All are begun at once.
REACHES = """
import errno, json, select, socket, sys, time

def reaches(addresses, ports):
    tried = []
    for address in addresses:
        for port in ports:
            connection = socket.socket()
            connection.setblocking(False)
            if connection.connect_ex((address, port)) in (0, errno.EINPROGRESS):
                tried.append((address, port, connection))
    waiting = select.poll()
    for *_, connection in tried:
        waiting.register(connection, select.POLLOUT)
    time.sleep(2)  # an unanswered one is repeated after one second
    ready = {descriptor for descriptor, _ in waiting.poll(0)}
    found = {address: [] for address in addresses}
    for address, port, connection in tried:
        if connection.fileno() in ready and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            found[address].append(port)
    return found
"""


def host_addresses(machine: Machine) -> list[str]:
    """The server's own addresses of IPv4 but the loopback's: the world's, and one on each network of containers."""
    shown = machine.run("ip -4 -o address | awk '$2 != \"lo\" { print $4 }'").stdout.split()
    return [each.partition("/")[0] for each in shown]


def listening_ports(machine: Machine, address: str = "") -> set[int]:
    """TCP ports on which something listens on the server.

    :param address: IPv4 address at which it is reachable without the firewall; by default any
    """
    lines = machine.run("ss -Hltn | awk '{print $4}'").stdout.split()
    listeners = [line.rpartition(":") for line in lines]
    everywhere = ("0.0.0.0", "*", "[::]")  # noqa: S104 - as ss writes them; nothing is bound
    return {int(port) for at, _, port in listeners if not address or at in (address, *everywhere)}


def cards(machine: Machine) -> list[str]:
    """Full UUIDs of the cards, in the order of their indices, from nvidia-smi."""
    return machine.run("nvidia-smi --query-gpu=uuid --format=csv,noheader").stdout.split()


def computing(machine: Machine) -> dict[str, str]:
    """Which card the processes of each unit compute on: nvidia-smi names the process, its control group the unit."""
    done = machine.run(
        "nvidia-smi --query-compute-apps=gpu_uuid,pid --format=csv,noheader | tr -d , | while read -r gpu pid; do "
        """echo "$(grep -o '[^/]*\\.service' /proc/$pid/cgroup | tail -n 1) $gpu"; done"""
    )
    return dict(line.split() for line in done.stdout.splitlines())


def declared_placement(machine: Machine) -> dict[str, str]:
    """The card of each instance's unit as group_data/ declares it, with the full UUID."""
    full = {uuid: [card for card in cards(machine) if card.startswith(uuid)] for uuid in _declared_cards()}
    assert all(len(found) == 1 for found in full.values()), full
    return {f"ollama@{instance.name}.service": full[instance.gpu][0] for instance in ollama_instances}


def _declared_cards() -> set[str]:
    return {instance.gpu for instance in ollama_instances}


def resident(machine: Machine) -> dict[str, list[str]]:
    """The models that each instance has wholly on a GPU, by the instance's name; [] where it does not answer."""
    found = {}
    for instance in ollama_instances:
        url = f"http://127.0.0.1:{instance.port}/api/ps"
        output = machine.run(f"curl -fsS --max-time 5 {url}", check=False).stdout
        models = json.loads(output)["models"] if output else []
        found[instance.name] = [one["name"] for one in models if one["size"] == one["size_vram"]]
    return found


def all_warm(machine: Machine) -> bool:
    """Whether every instance has its model on its declared card."""
    expected = {instance.name: [instance.model] for instance in ollama_instances}
    return resident(machine) == expected and computing(machine) == declared_placement(machine)


def repair_instances(machine: Machine) -> None:
    """Undo what a test did to the cards, and have every instance warm."""
    machine.run("gpu-sim give-back; rm -f /var/lib/gpu-sim/ollama-*")
    if not all_warm(machine):
        machine.run(
            f"systemctl restart {' '.join(instance.unit for instance in ollama_instances)}", timeout=600
        )
        await_true(lambda: all_warm(machine), 300, "model on its card in every instance")


@pytest.fixture(scope="module")
def quiet(machine: Machine, request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep cron's GPU watchdog out, as the nightly maintenance does: by its lock.

    A unit of its own for each module: systemd forgets a stopped one only some time after it stopped.
    """
    unit = request.module.__name__.replace(".", "-")
    lock, held = f"{paths.locks}/gpu.lock", f"/run/{unit}"
    holding = f"flock {lock} sh -c 'touch {held} && exec sleep infinity'"
    machine.run(f"rm -f {held}; systemd-run --quiet --collect --unit={unit} {holding}")
    # A round of it, or of the nightly restart, may have begun: it goes on until it is done.
    await_true(lambda: _succeeds(machine, f"test -e {held}"), 900, "lock of the GPU watchdog")
    yield
    machine.run(f"systemctl stop {unit}", check=False)


@contextmanager
def without_cron(machine: Machine) -> Iterator[None]:
    """What cron would run stays out, and what it has begun is over: stopping cron does not end that."""
    machine.run("systemctl stop cron")
    try:
        # Each job has a process of cron's own beside it.
        await_true(lambda: not _succeeds(machine, "pgrep -x cron"), 1800, "end of cron's jobs")
        yield
    finally:
        machine.run("systemctl start cron")

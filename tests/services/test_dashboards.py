"""Bull Board and Flower, asked for what real queues and workers leave in Redis (requirements 10.1 and 10.2)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from blueprint.secrets import Secret, Secrets
from lab.machine import Machine
from lab.paths import CHECKOUT
from tests.host.conftest import await_true
from tests.services.declared import everything

PROJECTS = everything().projects
# Redis database of each broker, by its Flower.
FLOWERS = {project.flower_name: project.broker for project in PROJECTS if project.broker is not None}
# How Bull Board calls the queues of each Redis database.
QUEUES = {project.queues: project.name for project in PROJECTS if project.queues is not None}
REDISCOVERY_S = 60  # files/bull-board/server.js

# A program of BullMQ, run with Bull Board's image: {"password": …, "db": …} on its standard input.
BULLMQ = """\
const { Queue } = require("bullmq");
const { password, db } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const queue = new Queue("probe", { connection: { host: "shared-redis", username: "bull-board", password, db } });
(async () => { await %s; await queue.close(); })();
"""

Page = Callable[..., httpx.Client]


def secret(name: str) -> Secret:
    return Secrets.open("lab", CHECKOUT / "secrets").provided(name)


def container(machine: Machine, command: str, stdin: str) -> str:
    """Run `docker run …` on the server; what is secret goes on its standard input."""
    done = subprocess.run(
        [
            "ssh",
            "-F",
            str(machine.lab.state / "ssh_config"),
            "lab",
            f"docker run --network coolify {command}",
        ],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def bullmq(machine: Machine, index: int, statement: str) -> None:
    image = machine.run("docker inspect --format '{{.Image}}' bull-board").stdout.strip()
    login = json.dumps({"password": secret("redis/bull-board"), "db": index})
    container(machine, f"--rm -i --entrypoint node {image} -e '{BULLMQ % statement}'", login)


@pytest.fixture
def page(machine: Machine, forward: Callable[[str, int], int]) -> Iterator[Page]:
    """A client of a container's page; without a password's name, it is not logged in."""
    clients: list[httpx.Client] = []

    def open_page(name: str, port: int, password: str | None = None) -> httpx.Client:
        address = machine.run(
            f"docker inspect --format '{{{{.NetworkSettings.Networks.coolify.IPAddress}}}}' {name}"
        ).stdout.strip()
        login = ("admin", str(secret(password))) if password else None
        url = f"http://127.0.0.1:{forward(address, port)}"
        clients.append(httpx.Client(base_url=url, auth=login, timeout=60, trust_env=False))
        return clients[-1]

    yield open_page
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("name", "port", "health"),
    [("bull-board", 3100, "/health"), *((name, 5555, "/healthcheck") for name in FLOWERS)],
)
def test_nobody_looks_without_a_login(page: Page, name: str, port: int, health: str) -> None:
    stranger = page(name, port)
    assert stranger.get("/").status_code == 401
    assert stranger.get("/", auth=("admin", "guess")).status_code == 401
    assert stranger.get(health).status_code == 200


@pytest.mark.checklist("3.2")
def test_the_projects_queues_are_on_the_board_each_by_its_own_name(machine: Machine, page: Page) -> None:
    board = page("bull-board", 3100, "bull_board/password")

    def waiting() -> dict[str, Any]:
        answer = board.get("/api/queues").raise_for_status().json()
        return {queue["name"]: queue["counts"]["waiting"] for queue in answer["queues"]}

    queues = {f"{project}:probe": 1 for project in QUEUES.values()}
    try:
        for index in QUEUES:
            bullmq(machine, index, 'queue.add("greet", { whom: "Bull Board" })')
        await_true(lambda: waiting().items() >= queues.items(), REDISCOVERY_S + 60, "queues on the board")
    finally:
        for index in QUEUES:
            bullmq(machine, index, "queue.obliterate({ force: true })")
    await_true(lambda: not waiting().keys() & queues.keys(), REDISCOVERY_S + 60, "board without the queues")


def test_looking_at_a_queue_writes_nothing_of_ours_into_it(machine: Machine, page: Page) -> None:
    """The board found no queue that it made itself by looking."""
    board = page("bull-board", 3100, "bull_board/password")
    assert not [
        queue for queue in board.get("/api/queues").json()["queues"] if queue["name"].endswith(":probe")
    ]


@pytest.mark.checklist("6.6")
@pytest.mark.parametrize(("name", "index"), FLOWERS.items())
def test_a_broker_s_worker_is_in_its_own_flower(machine: Machine, page: Page, name: str, index: int) -> None:
    image = machine.run("docker inspect --format '{{.Image}}' flower").stdout.strip()
    broker = f"CELERY_BROKER_URL=redis://flower:{secret('redis/flower')}@shared-redis:6379/{index}\n"
    worker = f"probe-{index}@lab"
    run = "-d --rm --name celery-probe --memory 192m --env-file /dev/stdin --env HOME=/tmp"
    container(
        machine, f"{run} {image} worker --pool solo --queues probe --hostname {worker} --events", broker
    )
    try:
        pages = {each: page(each, 5555, "flower/password") for each in FLOWERS}

        def workers(each: str) -> dict[str, Any]:
            answer: dict[str, Any] = pages[each].get("/api/workers", params={"refresh": 1}).json()
            return answer

        def queues() -> list[str]:
            """What it consumes; Flower asks for each fact of a worker by itself, and an answer may be late."""
            return [queue["name"] for queue in workers(name).get(worker, {}).get("active_queues") or ()]

        await_true(queues, 180, f"{worker} in {name}")
        assert queues() == ["probe"]
        assert [each for each in FLOWERS if worker in workers(each)] == [name]
    finally:
        machine.run("docker rm -f celery-probe")

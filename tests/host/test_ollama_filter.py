"""Ollama as containers have it: what they may ask is answered, what would manage or move a model is refused."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from group_data.gpu import ollama_instances
from lab.machine import Machine
from tests.host.conftest import (
    Deploy,
    Forward,
    all_warm,
    await_answer,
    await_true,
    python_in_container,
    repair_instances,
    resident,
)

pytestmark = pytest.mark.usefixtures("quiet")
INSTANCES = {instance.name: instance for instance in ollama_instances}
HEAVY, LIGHT = INSTANCES["heavy"], INSTANCES["light"]
UNIT = "ollama-filter.service"
HOST_GATEWAY = "--network coolify --add-host host.docker.internal:host-gateway"

# Asks in a container: a list of method, path, body and port; answers a list of status and text. The path goes out as it
# is written, which no client library would do.
ASK = """
import http.client, json, sys
def ask(method, path, body, port):
    connection = http.client.HTTPConnection('host.docker.internal', port, timeout=60)
    connection.putrequest(method, path, skip_accept_encoding=True)
    text = b'' if body is None else json.dumps(body).encode()
    connection.putheader('Content-Length', str(len(text)))
    connection.endheaders(text)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()
print(json.dumps([ask(*one) for one in json.loads(sys.argv[1])]))
"""
# How long after the first piece of a streamed answer each piece came, in seconds.
STREAM = """
import http.client, json, sys, time
connection = http.client.HTTPConnection('host.docker.internal', int(sys.argv[1]), timeout=60)
connection.request('POST', '/api/generate', sys.argv[2])
answer = connection.getresponse()
came = []
while answer.readline():
    came.append(time.monotonic())
print(json.dumps([at - came[0] for at in came]))
"""

Question = tuple[str, str, Any, int]


@pytest.fixture(autouse=True)
def warm_again(machine: Machine) -> Iterator[None]:
    """Every instance warm after each test, so that none pays for the one before it."""
    yield
    repair_instances(machine)


def ask(machine: Machine, *questions: Question) -> list[tuple[int, str]]:
    """What a container on the network is answered."""
    done = python_in_container(machine, ASK, json.dumps(questions), options=HOST_GATEWAY)
    assert done.returncode == 0, done.stderr
    return [(status, text) for status, text in json.loads(done.stdout)]


def serves(machine: Machine) -> bool:
    """Whether a container is answered by every instance."""
    questions = [("GET", "/api/version", None, instance.port) for instance in ollama_instances]
    done = python_in_container(machine, ASK, json.dumps(questions), options=HOST_GATEWAY)
    return done.returncode == 0 and {status for status, _ in json.loads(done.stdout)} == {200}


def allowed(instance: str = "heavy") -> list[Question]:
    """A question of each kind that is meant for containers."""
    one = INSTANCES[instance]
    ask, say = {"model": one.model, "stream": False}, [{"role": "user", "content": "Are you there?"}]
    bodies = {
        "/api/show": {"model": one.model},
        "/api/generate": {**ask, "prompt": "a", "keep_alive": -1, "options": {"num_ctx": one.context_length}},
        "/api/chat": {**ask, "messages": say, "options": {"num_predict": 3, "temperature": 0}},
        "/api/embed": {"model": one.model, "input": ["a", "b"]},
        "/api/embeddings": {"model": one.model, "prompt": "a"},
        "/v1/chat/completions": {"model": one.model, "messages": say},
        "/v1/completions": {"model": one.model, "prompt": "a"},
        "/v1/embeddings": {"model": one.model, "input": "a"},
    }
    paths = ["/", "/api/version", "/api/tags", "/api/ps", "/v1/models", f"/v1/models/{one.model}"]
    return [
        *(("GET", path, None, one.port) for path in paths),
        *(("HEAD", path, None, one.port) for path in ("/", "/api/version", "/api/tags")),
        *(("POST", path, body, one.port) for path, body in bodies.items()),
    ]


def managing() -> list[Question]:
    """What manages models, and ways around the names of it."""
    model = {"model": HEAVY.model}
    return [
        (method, path, body, HEAVY.port)
        for method, path, body in (
            ("POST", "/api/pull", model),
            ("POST", "/api/push", model),
            ("POST", "/api/create", {"model": "mine", "from": HEAVY.model}),
            ("POST", "/api/copy", {"source": HEAVY.model, "destination": "mine"}),
            ("DELETE", "/api/delete", model),
            ("POST", "/api/blobs/sha256:00", {}),
            ("HEAD", "/api/blobs/sha256:00", None),
            ("POST", "/api/me", {}),
            ("POST", "/v1/responses", model),
            ("OPTIONS", "/api/generate", None),
            ("POST", "//api/pull", model),
            ("POST", "/api/%70ull", model),
            ("POST", "/api/generate/../pull", model),
            ("POST", "/api/generate/%2e%2e/pull", model),
            ("POST", "/v1/../api/pull", model),
            ("POST", "/api/pull?/api/generate", model),
            ("POST", "http://127.0.0.1/api/pull", model),
            ("GET", "/v1/models/../../api/blobs/x", None),
        )
    ]


def test_each_kind_of_question_is_answered(machine: Machine) -> None:
    questions = allowed()
    answers = ask(machine, *questions)
    refused = {
        question[:2]: answer for question, answer in zip(questions, answers, strict=True) if answer[0] != 200
    }
    assert refused == {}
    assert all_warm(machine)


def test_management_is_refused_and_leaves_everything_as_it_was(machine: Machine) -> None:
    tags = f"curl -fsS http://127.0.0.1:{HEAVY.port}/api/tags"
    before = json.loads(machine.run(tags).stdout)
    questions = managing()
    answers = ask(machine, *questions)
    assert {question[:2]: answer[0] for question, answer in zip(questions, answers, strict=True)} == {
        question[:2]: 403 for question in questions
    }
    assert json.loads(machine.run(tags).stdout) == before


def test_the_host_manages(machine: Machine) -> None:
    """The same API on the loopback: a copy of a model is made and removed."""
    url = f"http://127.0.0.1:{HEAVY.port}"
    copy = json.dumps({"source": HEAVY.model, "destination": "scratch:1"})
    machine.run(f"curl -fsS --data {shlex.quote(copy)} {url}/api/copy")
    assert '"scratch:1"' in machine.run(f"curl -fsS {url}/api/tags").stdout
    gone = json.dumps({"model": "scratch:1"})
    machine.run(f"curl -fsS --request DELETE --data {shlex.quote(gone)} {url}/api/delete")
    assert '"scratch:1"' not in machine.run(f"curl -fsS {url}/api/tags").stdout


MOVES: list[dict[str, Any]] = [
    {"keep_alive": 0},
    {"keep_alive": "5m"},
    {"model": LIGHT.model, "prompt": "a"},
    {"options": {"num_ctx": 1024}, "prompt": "a"},
    {"options": {"num_gpu": 0}, "prompt": "a"},
    {"shift": False, "prompt": "a"},
]


@pytest.mark.parametrize("moves", MOVES, ids=[next(iter(one)) for one in MOVES])
def test_no_container_moves_a_model(machine: Machine, moves: dict[str, Any]) -> None:
    """As the host could; which is tried as well, so that the refusal is what holds it."""
    body = {"model": HEAVY.model, "stream": False, **moves}
    ((status, text),) = ask(machine, ("POST", "/api/generate", body, HEAVY.port))
    assert (status, next(key for key in moves if key in text)) == (403, next(iter(moves)))
    assert all_warm(machine)
    assert not moved(machine)
    if moves not in ({"keep_alive": "5m"}, {"shift": False, "prompt": "a"}):  # these move it later, or back
        data = shlex.quote(json.dumps(body))
        machine.run(f"curl -fsS --max-time 60 --data {data} http://127.0.0.1:{HEAVY.port}/api/generate")
        await_true(lambda: moved(machine), 30, f"effect of {moves} from the host")
        machine.run(f"systemctl restart {HEAVY.warmup_unit}")
        await_true(lambda: not moved(machine), 60, "model as it was")


def moved(machine: Machine) -> bool:
    """Whether heavy has another model, or its own otherwise, than it was declared."""
    models = json.loads(machine.run(f"curl -fsS http://127.0.0.1:{HEAVY.port}/api/ps").stdout)["models"]
    state = [(one["name"], one["context_length"], one["size"] == one["size_vram"]) for one in models]
    return state != [(HEAVY.model, HEAVY.context_length, True)]


def test_the_instance_that_a_container_takes_turns_with_is_unloaded(machine: Machine) -> None:
    """voicejury's worker asks light's card for itself (requirements 4.2)."""
    ((status, text),) = ask(
        machine, ("POST", "/api/generate", {"model": LIGHT.model, "keep_alive": 0}, LIGHT.port)
    )
    assert (status, json.loads(text)["done_reason"]) == (200, "unload")
    await_true(lambda: not resident(machine)["light"], 60, "instance without its model")
    others = {name: models for name, models in resident(machine).items() if name != "light"}
    assert others == {name: [one.model] for name, one in INSTANCES.items() if name != "light"}


def test_a_streamed_answer_comes_piece_by_piece(machine: Machine) -> None:
    pace = f"/var/lib/gpu-sim/ollama-pace-{HEAVY.port}"
    machine.run(f"echo 0.3 >{pace}")
    try:
        body = json.dumps({"model": HEAVY.model, "prompt": "one two three four five"})
        done = python_in_container(machine, STREAM, str(HEAVY.port), body, options=HOST_GATEWAY)
    finally:
        machine.run(f"rm {pace}")
    assert done.returncode == 0, done.stderr
    came = json.loads(done.stdout)
    assert len(came) > 3
    assert all(at >= 0.25 * index for index, at in enumerate(came)), came


def test_a_body_that_is_too_large_is_refused(machine: Machine) -> None:
    question = f"('POST', '/api/generate', 'a' * 9 * 2**20, {ollama_instances[0].port})"
    code = ASK.replace("json.loads(sys.argv[1])", f"[{question}]")
    done = python_in_container(machine, code, options=HOST_GATEWAY)
    assert done.returncode == 0, done.stderr
    assert [status for status, _ in json.loads(done.stdout)] == [413]


FLOOD = """
import http.client, json, sys, threading, time
body = json.dumps({'model': sys.argv[2], 'images': ['A' * 2 * 2**20]})
statuses = []
def ask():
    connection = http.client.HTTPConnection('host.docker.internal', int(sys.argv[1]), timeout=120)
    connection.request('POST', '/api/generate', body)
    statuses.append(connection.getresponse().status)
threads = [threading.Thread(target=ask) for _ in range(9)]
began = time.monotonic()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps([time.monotonic() - began, statuses]))
"""


def test_large_bodies_of_one_container_come_in_one_after_the_other(machine: Machine) -> None:
    """Two a second: they keep no worker of nginx from the others."""
    done = python_in_container(machine, FLOOD, str(HEAVY.port), HEAVY.model, options=HOST_GATEWAY)
    assert done.returncode == 0, done.stderr
    took, statuses = json.loads(done.stdout)
    assert statuses == [200] * 9
    assert took > 3.5


def test_an_instance_that_is_down_is_a_502_of_its_own(machine: Machine) -> None:
    machine.run(f"systemctl stop {HEAVY.unit}")
    try:
        questions = [("GET", "/api/tags", None, one.port) for one in (HEAVY, LIGHT)]
        assert [status for status, _ in ask(machine, *questions)] == [502, 200]
    finally:
        machine.run(f"systemctl start {HEAVY.unit}")


def test_a_name_of_the_internet_is_not_answered(machine: Machine, forward: Forward) -> None:
    """A page that a browser in a container shows cannot make it ask Ollama under the page's own name."""
    port = forward(bridge(machine), HEAVY.port)
    for name, status in (("host.docker.internal", 200), ("evil.example", 403)):
        url = f"http://127.0.0.1:{port}/api/tags"
        answer = httpx.get(url, headers={"Host": f"{name}:{HEAVY.port}"}, trust_env=False, timeout=30)
        assert answer.status_code == status


def bridge(machine: Machine) -> str:
    """Address of Docker's bridge."""
    return machine.run("ip -4 -o address show dev docker0 | awk '{print $4}' | cut -d/ -f1").stdout.strip()


def test_only_the_filter_is_where_containers_come_in(machine: Machine) -> None:
    ports = {str(instance.port) for instance in ollama_instances}
    lines = [line.split() for line in machine.run("ss -Hltnp").stdout.splitlines()]
    addresses = {
        (line[3].rpartition(":")[0], line[5].split('"')[1])
        for line in lines
        if line[3].rpartition(":")[2] in ports
    }
    assert addresses == {("127.0.0.1", "ollama"), (bridge(machine), "nginx")}


def test_the_webs_ports_are_not_taken_by_the_package(machine: Machine) -> None:
    assert machine.run("systemctl is-enabled nginx.service", check=False).stdout.strip() == "masked"
    assert machine.run("systemctl is-active nginx.service", check=False).stdout.strip() == "inactive"
    taken = machine.run("ss -Hltnp '( sport = :80 or sport = :443 )'").stdout
    assert "nginx" not in taken


def test_it_is_shut_in(machine: Machine) -> None:
    output = machine.run(f"systemd-analyze security --no-pager {UNIT} | tail -n 1").stdout
    exposure = float(output.split(":")[1].split()[0])
    assert exposure <= 4.5, output
    pid = machine.run(f"systemctl show -P MainPID {UNIT}").stdout.strip()
    assert machine.run(f"ps -o uid= -p {pid}").stdout.strip() != "0"


def test_it_serves_after_a_restart_of_docker(machine: Machine) -> None:
    machine.run("systemctl reset-failed docker; systemctl restart docker")
    await_answer(machine, "shared-whisper.service")
    assert serves(machine)


def test_it_comes_back_when_it_is_killed(machine: Machine) -> None:
    machine.run(f"systemctl kill --kill-whom=all --signal=KILL {UNIT}")
    await_true(lambda: serves(machine), 60, "answer of the filter")


def test_edited_rules_are_put_back_without_a_restart(machine: Machine, deploy: Deploy) -> None:
    pid = machine.run(f"systemctl show -P MainPID {UNIT}").stdout
    machine.run("sed -i 's/^    access_log off;/    access_log stderr;/' /etc/ollama/filter/nginx.conf")
    done = deploy()
    assert done.changed == [
        "Phase 0: hardware | Ollama | Units and environment of the instances",
        "Phase 0: hardware | Ollama | Ollama instances",
    ], done.output
    assert machine.run(f"systemctl show -P MainPID {UNIT}").stdout == pid
    assert serves(machine)
    assert deploy().changed == []

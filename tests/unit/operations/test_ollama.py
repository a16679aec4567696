"""The Ollama fact, the difference and the checks, and the script that pulls, against a small server."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationValueError
from pyinfra.context import ctx_host, ctx_state

from facts import ollama as fact
from facts.ollama import GpuProcess, Instances, InstanceState, LoadedModel, OllamaState
from operations import ollama
from operations.checks import ASKED_AGAIN_S
from operations.ollama import Placement
from operations.script import FILES, Script

HEAVY_CARD = "GPU-bdb1f5e4-7a0e-6c52-93d1-2f6b8c40e7a9"
LIGHT_CARD = "GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e"
HEAVY = Placement("heavy", 11434, "qwen3:8b", HEAVY_CARD)
LIGHT = Placement("light", 11435, "qwen3:4b", LIGHT_CARD)

VERSION = '{"version":"0.15.2"}'
TAGS = json.dumps({"models": [{"name": "qwen3:8b", "model": "qwen3:8b", "size": 5225388164}]})
# As docs/api.md shows it, with the context length that newer servers add.
PS = json.dumps(
    {
        "models": [
            {
                "name": "qwen3:8b",
                "model": "qwen3:8b",
                "size": 6000,
                "digest": "500a1f067a9f",
                "details": {"format": "gguf", "family": "qwen3", "quantization_level": "Q4_K_M"},
                "size_vram": 6000,
            }
        ]
    }
)


def in_memory(model: str, size: int = 6000, vram: int = 6000) -> LoadedModel:
    return LoadedModel(model, size, vram)


def right() -> OllamaState:
    """Both instances as they should be."""
    return OllamaState(
        instances={
            11434: InstanceState("0.15.2", ("qwen3:8b", "qwen3:4b"), (in_memory("qwen3:8b"),)),
            11435: InstanceState("0.15.2", ("qwen3:8b", "qwen3:4b"), (in_memory("qwen3:4b"),)),
        },
        processes=(GpuProcess(HEAVY_CARD, 10, HEAVY.unit), GpuProcess(LIGHT_CARD, 20, LIGHT.unit)),
    )


# --- the fact ---------------------------------------------------------------------------------------------


def test_instance_answers() -> None:
    instance = fact.parse_instance([VERSION, TAGS, PS])
    assert instance is not None
    assert (instance.version, instance.tags) == ("0.15.2", ("qwen3:8b",))
    assert instance.loaded == (LoadedModel("qwen3:8b", 6000, 6000),)


def test_instance_with_an_empty_store_and_nothing_loaded() -> None:
    assert fact.parse_instance([VERSION, '{"models":null}', '{"models":[]}']) == InstanceState(
        "0.15.2", (), ()
    )


@pytest.mark.parametrize(
    "lines", [["", "", ""], [VERSION, TAGS, ""], [VERSION], [], [VERSION, "[]", PS], ["<html>"]]
)
def test_instance_does_not_answer(lines: list[str]) -> None:
    assert fact.parse_instance(lines) is None


def test_processes_by_unit() -> None:
    state = fact.parse(
        [
            *("@@instance 11434", VERSION, TAGS, PS),
            *("@@instance 11435", "", "", ""),
            *(
                "@@processes",
                f"{HEAVY_CARD} 10 ollama@heavy.service",
                f"{HEAVY_CARD} 11 ollama@heavy.service",
            ),
            *(f"{LIGHT_CARD} 12 ", "No devices were found"),
        ]
    )
    assert state.instances[11435] is None
    assert state.cards("ollama@heavy.service") == (HEAVY_CARD,)
    assert state.cards("ollama@light.service") == ()
    assert state.processes[2] == GpuProcess(LIGHT_CARD, 12, None)


# --- differences ------------------------------------------------------------------------------------------


def test_nothing_missing() -> None:
    assert ollama.missing(right(), [HEAVY, LIGHT]) == []


def test_each_missing_model_once_and_in_order() -> None:
    third = Placement("third", 11436, "llama3", HEAVY_CARD)
    state = OllamaState({11434: None, 11435: InstanceState("0.15.2", ("qwen3:8b",), ())})
    assert ollama.missing(state, [LIGHT, third, HEAVY, LIGHT]) == ["qwen3:4b", "llama3:latest"]


def test_one_store_for_all() -> None:
    """What one instance lists, the others have too, even one that does not answer."""
    state = OllamaState({11434: None, 11435: InstanceState("0.15.2", ("qwen3:8b", "qwen3:4b"), ())})
    assert ollama.missing(state, [HEAVY, LIGHT]) == []


@pytest.mark.parametrize(
    ("model", "full"),
    [
        ("qwen3:8b", "qwen3:8b"),
        ("llama3", "llama3:latest"),
        ("registry.test:5000/a/b", "registry.test:5000/a/b:latest"),
    ],
)
def test_canonical(model: str, full: str) -> None:
    assert ollama.canonical(model) == full


def test_right_state_has_no_problems() -> None:
    assert ollama.unanswered(right(), [HEAVY, LIGHT], "0.15.2") == []
    assert ollama.misplaced(right(), [HEAVY, LIGHT]) == []


def change(
    port: int, instance: InstanceState | None, processes: tuple[GpuProcess, ...] | None = None
) -> OllamaState:
    state = right()
    return OllamaState(
        {**state.instances, port: instance}, state.processes if processes is None else processes
    )


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (change(11434, None), "no answer on port 11434"),
        (change(11434, InstanceState("0.15.2", (), ())), "in memory: nothing"),
        (change(11434, InstanceState("0.15.2", (), (in_memory("llama3.1:8b"),))), "in memory: llama3.1:8b"),
        (
            change(11434, InstanceState("0.15.2", (), (in_memory("qwen3:8b", 6 * 2**30, 3 * 2**30),))),
            "qwen3:8b with 50 % on the GPU (3.0 of 6.0 GiB); the CPU computes the rest",
        ),
        (
            change(
                11435, right().instances[11435], (GpuProcess(LIGHT_CARD, 1, HEAVY.unit), right().processes[1])
            ),
            LIGHT_CARD,
        ),
        (change(11435, right().instances[11435], (right().processes[1],)), "no card that nvidia-smi knows"),
        (
            change(
                11435, right().instances[11435], (*right().processes, GpuProcess(LIGHT_CARD, 3, HEAVY.unit))
            ),
            f"computing on {LIGHT_CARD}, {HEAVY_CARD}",
        ),
    ],
)
def test_misplaced(state: OllamaState, found: str) -> None:
    (problem,) = ollama.misplaced(state, [HEAVY, LIGHT])
    assert problem.what == "ollama@heavy.service"
    assert found in problem.found
    assert problem.remedy


def test_unanswered() -> None:
    state = change(11434, None)
    assert [problem.what for problem in ollama.unanswered(state, [HEAVY, LIGHT], None)] == [HEAVY.unit]
    problems = ollama.unanswered(state, [HEAVY, LIGHT], "0.16.0")
    assert [problem.found for problem in problems] == [
        "no answer on port 11434",
        "version 0.15.2 on port 11435",
    ]


# --- operations -------------------------------------------------------------------------------------------


class FakeHost:
    """Answers the one fact the operations ask, and refuses any other."""

    def __init__(self, *states: OllamaState) -> None:
        self.states = [*states]
        self.noops: list[str] = []

    def get_fact(self, asked: type, **kwargs: Any) -> OllamaState:
        assert asked is Instances
        assert kwargs == {"ports": [11434, 11435]}
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def noop(self, why: str) -> None:
        self.noops.append(why)

    def log(self, message: str) -> None:
        pass


def commands(
    operation: Any,
    state: OllamaState,
    *,
    executing: bool = True,
    placements: Sequence[Placement] = (HEAVY, LIGHT),
) -> tuple[list[Any], list[str]]:
    fake = FakeHost(state)
    with ctx_host.use(fake), ctx_state.use(SimpleNamespace(is_executing=executing, ops={fake: {}})):
        return list(operation._inner(list(placements))), fake.noops


def test_models_pulls_what_is_missing_through_one_that_answers() -> None:
    state = OllamaState({11434: None, 11435: InstanceState("0.15.2", (), ())})
    yielded, noops = commands(ollama.models, state)
    assert [str(command) for command in yielded] == [
        str(Script("ollama/pull.sh", 11435, "qwen3:8b")),
        str(Script("ollama/pull.sh", 11435, "qwen3:4b")),
    ]
    assert all(command.stream for command in yielded)
    assert noops == []


def test_models_before_anything_is_installed() -> None:
    yielded, _ = commands(ollama.models, OllamaState(), executing=False)
    assert len(yielded) == 2


@pytest.mark.parametrize("operation", [ollama.models, ollama.answers, ollama.resident])
def test_an_instance_that_is_slow_to_answer_is_asked_again(operation: Any, waited: list[float]) -> None:
    fake = FakeHost(replace(right(), instances={**right().instances, 11435: None}), right())
    with ctx_host.use(fake), ctx_state.use(SimpleNamespace(is_executing=True, ops={fake: {}})):
        assert list(operation._inner([HEAVY, LIGHT])) == []
    assert waited == [ASKED_AGAIN_S]


def test_models_with_everything_there() -> None:
    assert commands(ollama.models, right()) == ([], ["every model is in the store"])


def test_models_refuses_what_is_no_name() -> None:
    bad = Placement("heavy", 11434, '8b", "insecure":"true', HEAVY_CARD)
    with pytest.raises(OperationValueError, match="instance heavy"):
        list(ollama.models._inner([bad]))


def test_a_model_that_somebody_unloaded_is_loaded_again() -> None:
    lost = change(11435, InstanceState("0.15.2", (), ()), right().processes[:1])
    load = "systemctl restart ollama-warmup@light.service"
    yielded, _ = commands(ollama.resident, lost)
    assert [str(command) for command in yielded[:1]] == [load]
    # It did not come back.
    assert "in memory: nothing" in yielded[1].args[0]
    yielded, _ = commands(ollama.resident, lost, executing=False)
    assert [str(command) for command in yielded] == [load]


def test_one_that_gives_way_has_to_come_back_where_its_card_is_free() -> None:
    lost = change(11435, InstanceState("0.15.2", (), ()), right().processes[:1])
    turns = [HEAVY, replace(LIGHT, yields_gpu=True)]
    load, failing = commands(ollama.resident, lost, placements=turns)[0]
    assert str(load) == "systemctl restart ollama-warmup@light.service"
    assert "in memory: nothing" in failing.args[0]


def test_another_model_in_its_place_gives_way() -> None:
    strange = change(11435, InstanceState("0.15.2", (), (in_memory("llama3.1:8b"),)))
    yielded, _ = commands(ollama.resident, strange)
    assert str(yielded[0]) == "systemctl restart ollama-warmup@light.service"


def test_a_card_that_another_computes_on_is_left_to_it() -> None:
    container = GpuProcess(LIGHT_CARD, 30, "docker.service")
    lent = change(11435, InstanceState("0.15.2", (), ()), (right().processes[0], container))
    ((failing,), _) = commands(ollama.resident, lent)
    assert "ollama@light.service" in failing.args[0]
    turns = replace(LIGHT, yields_gpu=True)
    assert commands(ollama.resident, lent, placements=[HEAVY, turns]) == ([], ["as it should be"])


@pytest.mark.parametrize("operation", [ollama.answers, ollama.resident])
def test_checks_look_at_execute_only(operation: Any) -> None:
    wrong = OllamaState({11434: None, 11435: None})
    assert commands(operation, wrong, executing=False) == ([], [])
    assert commands(operation, right()) == ([], ["as it should be"])
    (failing,), noops = commands(operation, wrong)
    assert noops == []
    (text,) = failing.args
    assert "2 problems" in text
    assert "fix:      journalctl -u ollama@heavy.service" in text


def test_a_failing_check_fails_the_host_and_says_why() -> None:
    (failing,), _ = commands(ollama.answers, OllamaState({11434: None, 11435: None}))
    output: list[str] = []
    host = SimpleNamespace(log_styled=lambda text, **_: output.append(text))
    assert failing.execute(SimpleNamespace(), host, {}) is False
    assert output == [failing.args[0]]


# --- the fact's and the pull's script against a server ----------------------------------------------------


class Server(ThreadingHTTPServer):
    """A server whose answers a test sets; counts what it was asked."""

    answers: dict[str, list[bytes]]
    asked: list[tuple[str, bytes]]

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.reply(b"")

    def do_POST(self) -> None:
        self.reply(self.rfile.read(int(self.headers["Content-Length"])))

    def reply(self, body: bytes) -> None:
        self.server.asked.append((self.path, body))
        left = self.server.answers.get(self.path)
        if not left:
            self.send_error(404)
            return
        answer = left.pop(0) if len(left) > 1 else left[0]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serve(**answers: str | list[str]) -> Iterator[Server]:
    """An Ollama that answers `/api/<name>`; of several answers the last one stays."""
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    server.answers = {
        f"/api/{name}": [text.encode() for text in ([answer] if isinstance(answer, str) else answer)]
        for name, answer in answers.items()
    }
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_fact_command_against_a_server() -> None:
    with serve(version=VERSION, tags=TAGS, ps=PS) as server, serve(version=VERSION) as broken:
        command = Instances().command([server.port, broken.port, 1]).get_raw_value()
        done = subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, text=True)
        state = Instances().process(done.stdout.splitlines())
        assert state.instances == {
            server.port: fact.parse_instance([VERSION, TAGS, PS]),
            broken.port: None,
            1: None,
        }


def pull(port: int, model: str = "qwen3:8b") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "OLLAMA_PATIENCE": "1", "OLLAMA_PULL_PAUSE": "0"}
    return subprocess.run(
        ["bash", str(FILES / "ollama" / "pull.sh"), str(port), model],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def stream(*objects: dict[str, Any]) -> str:
    return "".join(json.dumps(item, separators=(",", ":")) + "\n" for item in objects)


def layer(name: str, completed: int | None, total: int) -> dict[str, Any]:
    progress = {} if completed is None else {"completed": completed}
    return {"status": f"pulling {name}", "digest": f"sha256:{name * 16}", "total": total, **progress}


DONE = [{"status": "verifying sha256 digest"}, {"status": "writing manifest"}, {"status": "success"}]
BIG = 100 * 2**20


def test_pull_shows_progress_sparsely() -> None:
    steps = [layer("beef", None, BIG), *(layer("beef", BIG * percent // 100, BIG) for percent in range(101))]
    with serve(version=VERSION, pull=stream({"status": "pulling manifest"}, *steps, *DONE)) as server:
        done = pull(server.port)
    assert done.returncode == 0
    assert done.stdout.count("layer beefbeefbeef") == 11
    assert "qwen3:8b: layer beefbeefbeef 50 % of 100 MiB" in done.stdout
    assert done.stdout.endswith("qwen3:8b: pulled\n")
    assert ("/api/pull", b'{"model":"qwen3:8b"}') in server.asked


def test_pull_goes_on_where_the_stream_broke_off() -> None:
    broken = stream({"status": "pulling manifest"}, layer("beef", BIG // 2, BIG))
    with serve(version=VERSION, pull=[broken, stream(*DONE)]) as server:
        done = pull(server.port)
    assert done.returncode == 0
    assert "attempt 1 of 4 failed: the connection was lost" in done.stderr


def test_pull_gives_up_with_ollamas_own_words() -> None:
    with serve(version=VERSION, pull=stream({"error": "pull model manifest: file does not exist"})) as server:
        done = pull(server.port, "qwen3:9b")
    assert done.returncode == 1
    assert "found:    qwen3:9b could not be pulled: pull model manifest: file does not exist\n" in done.stderr
    assert [path for path, _ in server.asked].count("/api/pull") == 4


def test_pull_waits_only_so_long_for_an_instance() -> None:
    with serve() as server:
        done = pull(server.port)
    assert done.returncode == 1
    assert f"no answer from Ollama on port {server.port} for 1 s" in done.stderr

"""The stand-in `ollama` does what Ollama's documentation says, as a process of its own, from its release archive."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from group_data.gpu import ollama_version
from lab.hardware import install
from lab.ollama import registry, release
from lab.ollama.standin import settings
from lab.ollama.standin.store import Name
from tests.unit.served import NO_AUTHORITIES

HARDWARE = Path(release.__file__).parents[1] / "hardware"
LIGHT = "GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e"
HEAVY = "GPU-bdb1f5e4-7a0e-6c52-93d1-2f6b8c40e7a9"
MIB = 1024 * 1024
DETAILS = {"parent_model", "format", "family", "families", "parameter_size", "quantization_level"}
TIMINGS = {
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
}

Start = Callable[..., "Instance"]


@dataclass
class Instance:
    """A running server: a client of it, its log, its process."""

    api: httpx.Client
    log: Path
    process: subprocess.Popen[bytes]
    port: int

    def lines(self, path: str, request: dict[str, Any]) -> list[dict[str, Any]]:
        """The objects of a streamed answer."""
        with self.api.stream("POST", path, json=request) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/x-ndjson"
            return [json.loads(line) for line in answer.iter_lines()]

    def running(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get("/api/ps").json()["models"]
        return found


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ollama, out of the release archive."""
    folder = tmp_path_factory.mktemp("release")
    release.build(folder)
    subprocess.run(["tar", "--zstd", "-xf", str(folder / release.ARCHIVE), "-C", str(folder)], check=True)
    return folder / "bin" / "ollama"


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The registry's files, and the prefix of names that are pulled from it."""
    folder = tmp_path_factory.mktemp("registry")
    registry.write(folder)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"127.0.0.1:{server.server_port}/library"
        server.shutdown()


@pytest.fixture(scope="session")
def models(program: Path, source: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two models under their usual names, as a pull leaves it."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("qwen3:8b", "llama3.1:8b"):
        model, tag = name.split(":")
        repository = source[0] / "v2/library" / model
        target = folder / "manifests/registry.ollama.ai/library" / model / tag
        target.parent.mkdir(parents=True)
        shutil.copy(repository / "manifests" / tag, target)
        (folder / "blobs").mkdir(exist_ok=True)
        for blob in (repository / "blobs").iterdir():
            shutil.copy(blob, folder / "blobs" / blob.name.replace(":", "-"))
    return folder


@pytest.fixture
def hardware(tmp_path: Path) -> Path:
    """The simulated cards, with a driver."""
    install.install(tmp_path)
    (tmp_path / "var/lib/gpu-sim/driver").touch()
    return tmp_path / "var/lib/gpu-sim"


@pytest.fixture
def start(program: Path, models: Path, hardware: Path, tmp_path: Path) -> Iterator[Start]:
    """Start an instance with these variables in its environment."""
    yield from starting(program, models, hardware, tmp_path)


@pytest.fixture(scope="module")
def plain(program: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One instance for all tests that leave it as it was; it sees no card."""
    folder = tmp_path_factory.mktemp("plain")
    for begin in starting(program, models, folder, folder):
        yield begin()


def starting(program: Path, models: Path, hardware: Path, tmp_path: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []

    def begin(**environment: str) -> Instance:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": str(HARDWARE),
            "GPU_SIM_STATE": str(hardware),
            "OLLAMA_HOST": f"127.0.0.1:{port}",
            "OLLAMA_MODELS": str(models),
            **environment,
        }
        log = tmp_path / f"{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, str(program), "serve"], env=variables, stderr=output)
        running.append(process)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, verify=NO_AUTHORITIES)
        wait(lambda: answers(client))
        return Instance(client, log, process, port)

    yield begin
    for process in running:
        process.terminate()
        process.wait(5)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").text == "Ollama is running"
    except httpx.TransportError:
        return False


def wait(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def gpu_sim(hardware: Path, *arguments: str) -> str:
    code = "import sys; from gpusim.control import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(HARDWARE), "GPU_SIM_STATE": str(hardware)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout


def used_mib(hardware: Path, uuid: str) -> int:
    for line in gpu_sim(hardware, "list").splitlines():
        if uuid in line:
            return int(line.split(" of ")[0].split()[-1])
    raise AssertionError(f"{uuid} is gone")


# The release


def test_the_release_is_laid_out_as_the_real_one(tmp_path: Path, program: Path) -> None:
    digest = release.build(tmp_path)
    archive = (tmp_path / "ollama-linux-amd64.tar.zst").read_bytes()
    assert hashlib.sha256(archive).hexdigest() == digest
    assert (tmp_path / "sha256sum.txt").read_text() == f"{digest}  ./ollama-linux-amd64.tar.zst\n"
    assert archive == (program.parents[1] / "ollama-linux-amd64.tar.zst").read_bytes(), "not the same twice"
    assert os.access(program, os.X_OK)
    assert (program.parents[1] / "lib/ollama/cuda_v12").is_dir()


def test_version_with_and_without_a_server(program: Path, start: Start) -> None:
    def version(port: int) -> str:
        environment = {**os.environ, "OLLAMA_HOST": f"127.0.0.1:{port}"}
        command = [sys.executable, str(program), "--version"]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert version(start().port) == f"ollama version is {ollama_version}\n"
    assert version(1).splitlines() == [
        "Warning: could not connect to a running Ollama instance",
        f"Warning: client version is {ollama_version}",
    ]


# What is there


def test_version_tags_and_unknown_paths(plain: Instance) -> None:
    api = plain.api
    assert api.get("/api/version").json() == {"version": ollama_version}
    assert api.head("/").status_code == 200
    models = {model["name"]: model for model in api.get("/api/tags").json()["models"]}
    assert set(models) == {"qwen3:8b", "llama3.1:8b"}
    assert set(models["qwen3:8b"]) == {"name", "model", "modified_at", "size", "digest", "details"}
    assert set(models["qwen3:8b"]["details"]) == DETAILS
    assert models["qwen3:8b"]["size"] == 4983 * MIB
    assert (api.get("/api/none").status_code, api.get("/api/none").text) == (404, "404 page not found")
    assert (api.get("/api/generate").status_code, api.get("/api/generate").text) == (
        405,
        "405 method not allowed",
    )


def test_show(plain: Instance) -> None:
    api = plain.api
    shown = api.post("/api/show", json={"model": "llama3.1:8b"}).json()
    assert {"modelfile", "parameters", "template", "details", "model_info", "capabilities"} <= set(shown)
    assert shown["model_info"]["llama.attention.head_count_kv"] == 8
    assert shown["capabilities"] == ["completion", "tools"]
    assert not [key for key in shown["model_info"] if key.startswith("standin")]


@pytest.mark.parametrize("path", ["/api/show", "/api/generate", "/api/chat", "/api/embed"])
def test_an_unknown_model_is_not_found(plain: Instance, path: str) -> None:
    api = plain.api
    answer = api.post(path, json={"model": "nobody"})
    assert (answer.status_code, answer.json()) == (404, {"error": "model 'nobody' not found"})
    assert api.post(path).json() == {"error": "missing request body"}
    assert api.post(path, content="{").status_code == 400


# Pulling


def test_pull_streams_each_step_and_is_idempotent(
    start: Start, source: tuple[Path, str], tmp_path: Path
) -> None:
    instance = start(OLLAMA_MODELS=str(tmp_path / "models"))
    name = f"{source[1]}/qwen3:4b"
    steps = instance.lines("/api/pull", {"model": name, "insecure": True})
    assert steps[0] == {"status": "pulling manifest"}
    assert [step["status"] for step in steps[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    weights = [step for step in steps if step.get("total") == registry.LAYER_BYTES]
    assert weights[0]["status"] == f"pulling {weights[0]['digest'].removeprefix('sha256:')[:12]}"
    assert "completed" not in weights[0]
    assert len(weights) > 2
    assert weights[-1]["completed"] == registry.LAYER_BYTES
    blobs = sorted((tmp_path / "models/blobs").iterdir())
    assert all(f"sha256-{hashlib.sha256(blob.read_bytes()).hexdigest()}" == blob.name for blob in blobs)
    assert instance.api.get("/api/tags").json()["models"][0]["name"] == name
    again = instance.api.post("/api/pull", json={"model": name, "insecure": True, "stream": False})
    assert again.json() == {"status": "success"}
    assert sorted((tmp_path / "models/blobs").iterdir()) == blobs


def test_pull_of_what_is_nowhere(start: Start, source: tuple[Path, str], tmp_path: Path) -> None:
    instance = start(OLLAMA_MODELS=str(tmp_path / "models"))
    request = {"model": f"{source[1]}/nobody", "insecure": True}
    error = "pull model manifest: file does not exist"
    assert instance.lines("/api/pull", request) == [{"status": "pulling manifest"}, {"error": error}]
    answer = instance.api.post("/api/pull", json={**request, "stream": False})
    assert (answer.status_code, answer.json()) == (500, {"error": error})


def test_a_corrupt_download_is_refused(start: Start, source: tuple[Path, str], tmp_path: Path) -> None:
    repository = source[0] / "v2/library/broken"
    shutil.copytree(source[0] / "v2/library/deepseek-r1", repository)
    blob = max((repository / "blobs").iterdir(), key=lambda file: file.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    instance = start(OLLAMA_MODELS=str(tmp_path / "models"))
    steps = instance.lines("/api/pull", {"model": f"{source[1]}/broken:7b", "insecure": True})
    assert "digest mismatch" in steps[-1]["error"]
    assert instance.api.get("/api/tags").json() == {"models": []}


def test_instances_share_a_store_and_delete_keeps_what_others_need(
    start: Start, source: tuple[Path, str], tmp_path: Path
) -> None:
    store = {"OLLAMA_MODELS": str(tmp_path / "models")}
    one, other = start(**store), start(**store)
    for model in ("qwen3:8b", "qwen3:4b"):
        one.lines("/api/pull", {"model": f"{source[1]}/{model}", "insecure": True})
    assert len(other.api.get("/api/tags").json()["models"]) == 2
    gone = {"model": f"{source[1]}/qwen3:8b"}
    assert other.api.request("DELETE", "/api/delete", json=gone).status_code == 200
    assert other.api.request("DELETE", "/api/delete", json=gone).status_code == 404
    rest = one.api.get("/api/tags").json()["models"]
    assert [model["name"] for model in rest] == [f"{source[1]}/qwen3:4b"]
    assert one.api.post(
        "/api/generate", json={"model": rest[0]["name"], "prompt": "Hi", "stream": False}
    ).is_success


# Answering


def test_generate_streams_and_ends_with_its_statistics(plain: Instance) -> None:
    parts = plain.lines("/api/generate", {"model": "llama3.1:8b", "prompt": "Why is the sky blue?"})
    assert all(set(part) == {"model", "created_at", "response", "done"} for part in parts[:-1])
    assert set(parts[-1]) == {"model", "created_at", "response", "done", "done_reason", *TIMINGS}
    assert (parts[-1]["response"], parts[-1]["done"], parts[-1]["done_reason"]) == ("", True, "stop")
    assert "Why is the sky blue?" in "".join(part["response"] for part in parts)


def test_generate_in_one_piece_with_limits_and_forms(plain: Instance) -> None:
    api = plain.api

    def ask(**more: Any) -> dict[str, Any]:
        request = {"model": "llama3.1:8b", "prompt": "Sky?", "stream": False, **more}
        answer: dict[str, Any] = api.post("/api/generate", json=request).json()
        return answer

    assert ask()["done"] is True
    assert ask(options={"num_predict": 2})["done_reason"] == "length"
    assert set(json.loads(ask(format="json")["response"])) == {"answer"}
    schema = {"type": "object", "properties": {"age": {"type": "integer"}, "name": {"type": "string"}}}
    assert json.loads(ask(format=schema)["response"]) == {"age": 0, "name": "simulated"}
    assert ask(keep_alive="soon") == {"error": 'time: invalid duration "soon"'}


def test_chat_and_thinking(plain: Instance) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Sky?"}]
    parts = plain.lines("/api/chat", {"model": "qwen3:8b", "messages": messages})
    assert parts[0]["message"] == {
        "role": "assistant",
        "content": "",
        "thinking": "The question is simulated.",
    }
    assert parts[1]["message"]["role"] == "assistant"
    assert "Sky?" in "".join(part["message"]["content"] for part in parts)
    assert set(parts[-1]) == {"model", "created_at", "message", "done", "done_reason", *TIMINGS}
    quiet = {"model": "qwen3:8b", "messages": messages, "think": False, "stream": False}
    assert "thinking" not in plain.api.post("/api/chat", json=quiet).json()["message"]
    able = {"model": "llama3.1:8b", "messages": messages, "think": True}
    answer = plain.api.post("/api/chat", json=able)
    assert (answer.status_code, answer.json()) == (400, {"error": '"llama3.1:8b" does not support thinking'})


def test_one_embedding_of_the_older_route_and_of_openais(plain: Instance) -> None:
    ask = {"model": "qwen3:8b", "input": "a"}
    (vector,) = plain.api.post("/api/embed", json=ask).json()["embeddings"]
    older = plain.api.post("/api/embeddings", json={"model": "qwen3:8b", "prompt": "a"}).json()
    assert older == {"embedding": vector}
    assert plain.api.post("/v1/embeddings", json=ask).json()["data"][0]["embedding"] == vector
    completed = plain.api.post("/v1/completions", json={"model": "qwen3:8b", "prompt": "a"}).json()
    assert completed["choices"][0]["text"]


def test_embed(plain: Instance) -> None:
    api = plain.api
    answer = api.post("/api/embed", json={"model": "llama3.1:8b", "input": ["sky", "grass", "sky"]}).json()
    assert set(answer) == {"model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"}
    sky, grass, again = answer["embeddings"]
    assert len(sky) == 4096
    assert sum(value * value for value in sky) == pytest.approx(1)
    assert sky == again != grass
    assert (
        len(api.post("/api/embed", json={"model": "llama3.1:8b", "input": "sky"}).json()["embeddings"]) == 1
    )


def test_openai_routes(plain: Instance) -> None:
    api = plain.api
    assert {"qwen3:8b", "llama3.1:8b"} == {model["id"] for model in api.get("/v1/models").json()["data"]}
    request = {"model": "qwen3:8b", "messages": [{"role": "user", "content": "Sky?"}]}
    answer = api.post("/v1/chat/completions", json=request).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert "Sky?" in answer["choices"][0]["message"]["content"]
    assert set(answer["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    with api.stream("POST", "/v1/chat/completions", json={**request, "stream": True}) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        events = [line.removeprefix("data: ") for line in stream.iter_lines() if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[0])["object"] == "chat.completion.chunk"
    error = api.post("/v1/chat/completions", json={**request, "model": "nobody"})
    assert (error.status_code, error.json()["error"]["type"]) == (404, "not_found_error")


# Memory


def test_an_empty_prompt_loads_and_keep_alive_0_unloads(start: Start, hardware: Path) -> None:
    instance = start(CUDA_VISIBLE_DEVICES=HEAVY, OLLAMA_KEEP_ALIVE="-1")
    empty: list[tuple[str, dict[str, Any]]] = [("/api/generate", {}), ("/api/chat", {"messages": []})]
    for path, part in empty:
        loaded = instance.api.post(path, json={"model": "qwen3:8b", **part}).json()
        assert (loaded["done"], loaded["done_reason"]) == (True, "load")
        (entry,) = instance.running()
        assert set(entry) == {
            *("name", "model", "size", "digest", "details"),
            *("expires_at", "size_vram", "context_length"),
        }
        assert entry["size"] == entry["size_vram"]
        assert entry["expires_at"] > "2200"
        assert used_mib(hardware, HEAVY) == -(-entry["size_vram"] // MIB)
        unloaded = instance.api.post(path, json={"model": "qwen3:8b", "keep_alive": 0, **part}).json()
        assert (unloaded["done"], unloaded["done_reason"]) == (True, "unload")
        assert instance.running() == []
        assert used_mib(hardware, HEAVY) == 0


def test_models_leave_when_they_have_been_idle(start: Start, hardware: Path) -> None:
    instance = start(OLLAMA_KEEP_ALIVE="300ms", CUDA_VISIBLE_DEVICES=HEAVY)
    instance.api.post("/api/generate", json={"model": "qwen3:8b"})
    assert len(instance.running()) == 1
    wait(lambda: instance.running() == [])
    assert used_mib(hardware, HEAVY) == 0
    instance.api.post("/api/generate", json={"model": "qwen3:8b", "keep_alive": -1})
    time.sleep(0.8)
    assert len(instance.running()) == 1


def test_memory_is_weights_and_cache_of_every_parallel_request(start: Start) -> None:
    def size(**environment: str) -> int:
        instance = start(CUDA_VISIBLE_DEVICES=HEAVY, **environment)
        instance.api.post("/api/generate", json={"model": "qwen3:8b"})
        found: int = instance.running()[0]["size"]
        instance.process.terminate()
        return found

    cache = 2 * 36 * 8 * 128 * 4096
    one = size()
    assert one == 4983 * MIB + 256 * MIB + cache * 2
    assert size(OLLAMA_NUM_PARALLEL="3") - one == 2 * 2 * cache
    small = size(OLLAMA_KV_CACHE_TYPE="q8_0", OLLAMA_FLASH_ATTENTION="1", OLLAMA_CONTEXT_LENGTH="8192")
    assert small == 4983 * MIB + 256 * MIB + int(2 * cache * 34 / 32)
    assert size(OLLAMA_KV_CACHE_TYPE="q8_0") == one  # as Ollama: without flash attention the cache stays f16


def test_what_does_not_fit_goes_to_the_cpu(start: Start, hardware: Path) -> None:
    gpu_sim(hardware, "fill", LIGHT, "4000")
    instance = start(CUDA_VISIBLE_DEVICES=LIGHT)
    instance.api.post("/api/generate", json={"model": "qwen3:8b"})
    (entry,) = instance.running()
    assert 0 < entry["size_vram"] < entry["size"]
    assert used_mib(hardware, LIGHT) <= 8192 - 226
    gpu_sim(hardware, "fill", HEAVY, "9900")
    crowded = start(CUDA_VISIBLE_DEVICES=HEAVY)
    crowded.api.post("/api/generate", json={"model": "qwen3:8b"})
    assert crowded.running()[0]["size_vram"] == 0


def test_gpu_overhead_is_left_alone(start: Start, hardware: Path) -> None:
    instance = start(CUDA_VISIBLE_DEVICES=LIGHT, OLLAMA_GPU_OVERHEAD=str(4096 * MIB))
    instance.api.post("/api/generate", json={"model": "qwen3:8b"})
    assert used_mib(hardware, LIGHT) <= 8192 - 226 - 4096


@pytest.mark.parametrize(
    ("visible", "uuid"),
    [
        (HEAVY, HEAVY),
        ("GPU-bdb1f5e4", HEAVY),
        ("0", LIGHT),
        ("GPU-", None),
        ("GPU-ffffffff", None),
        ("-1", None),
        ("", None),
        (f"7,{HEAVY}", None),
    ],
)
def test_cards_are_chosen_as_cuda_does(start: Start, hardware: Path, visible: str, uuid: str | None) -> None:
    instance = start(CUDA_VISIBLE_DEVICES=visible)
    instance.api.post("/api/generate", json={"model": "llama3.1:8b"})
    assert [card for card in (LIGHT, HEAVY) if used_mib(hardware, card)] == ([uuid] if uuid else [])
    assert bool(instance.running()[0]["size_vram"]) == bool(uuid)


def test_a_killed_instance_leaves_its_card(start: Start, hardware: Path) -> None:
    instance = start(CUDA_VISIBLE_DEVICES=HEAVY)
    instance.api.post("/api/generate", json={"model": "qwen3:8b"})
    instance.process.kill()
    instance.process.wait()
    assert used_mib(hardware, HEAVY) == 0


def test_a_lost_card_takes_the_model_with_it(start: Start, hardware: Path) -> None:
    instance = start(CUDA_VISIBLE_DEVICES=HEAVY)
    instance.api.post("/api/generate", json={"model": "qwen3:8b"})
    gpu_sim(hardware, "take-away", HEAVY)
    assert instance.running() == []
    instance.api.post("/api/generate", json={"model": "qwen3:8b"})
    assert instance.running()[0]["size_vram"] == 0


def test_without_a_driver_everything_is_on_the_cpu(start: Start, hardware: Path) -> None:
    (hardware / "driver").unlink()
    instance = start(CUDA_VISIBLE_DEVICES=HEAVY)
    instance.api.post("/api/generate", json={"model": "qwen3:8b"})
    assert instance.running()[0]["size_vram"] == 0


def test_one_model_makes_room_for_another(start: Start, hardware: Path) -> None:
    instance = start(OLLAMA_MAX_LOADED_MODELS="1", CUDA_VISIBLE_DEVICES=HEAVY)
    for model in ("qwen3:8b", "llama3.1:8b"):
        instance.api.post("/api/generate", json={"model": model})
        (entry,) = instance.running()
        assert entry["name"] == model
        assert used_mib(hardware, HEAVY) == -(-entry["size_vram"] // MIB)


# Load, and what tests do to an instance


@pytest.mark.parametrize(
    "otherwise",
    [
        {"options": {"num_ctx": 1024}},
        {"options": {"num_gpu": 1}},
        {"options": {"num_batch": 1}},
        {"shift": False},
    ],
)
def test_a_model_is_loaded_anew_for_what_it_is_started_with(
    start: Start, hardware: Path, otherwise: dict[str, Any]
) -> None:
    instance = start(CUDA_VISIBLE_DEVICES=HEAVY)
    ask = {"model": "qwen3:8b", "prompt": "a", "stream": False}
    loads = "offloaded layers to GPU"

    def after(**more: Any) -> int:
        instance.api.post("/api/generate", json={**ask, **more}).raise_for_status()
        return instance.log.read_text().count(loads)

    assert after() == 1
    assert after(options={"num_ctx": 4096, "num_gpu": -1, "temperature": 0}, shift=True) == 1
    assert after(**otherwise) == 2
    assert after() == 3


def test_keys_are_read_in_any_case_and_objects_of_one_name_merged(start: Start, hardware: Path) -> None:
    instance = start(CUDA_VISIBLE_DEVICES=HEAVY)
    body = '{"MODEL": "qwen3:8b", "Options": {"num_ctx": 1024}, "Options": {"seed": 1}}'
    instance.api.post("/api/generate", content=body).raise_for_status()
    assert [model["context_length"] for model in instance.running()] == [1024]
    unload = '{"model": "qwen3:8b", "\u212aeep_alive": 0}'
    instance.api.post("/api/generate", content=unload).raise_for_status()
    assert instance.running() == []


@pytest.mark.parametrize(
    ("name", "status"),
    [("localhost", 200), ("host.docker.internal:11434", 200), ("10.0.0.1", 200), ("evil.example", 403)],
)
def test_on_the_loopback_only_local_names_are_answered(plain: Instance, name: str, status: int) -> None:
    assert plain.api.get("/api/version", headers={"Host": name}).status_code == status


def test_a_copy_is_another_name(plain: Instance) -> None:
    copy = {"source": "qwen3:8b", "destination": "mine:1"}
    assert plain.api.post("/api/copy", json=copy).status_code == 200
    try:
        assert plain.api.get("/v1/models/mine:1").json()["id"] == "mine:1"
    finally:
        plain.api.request("DELETE", "/api/delete", json={"model": "mine:1"})
    assert plain.api.get("/v1/models/mine:1").status_code == 404
    assert plain.api.get("/v1/models/qwen3:8b").status_code == 200


def test_a_stream_can_be_made_slow(start: Start, hardware: Path) -> None:
    instance = start(CUDA_VISIBLE_DEVICES=HEAVY)
    (hardware / f"ollama-pace-{instance.port}").write_text("0.2")
    came = []
    with instance.api.stream("POST", "/api/generate", json={"model": "qwen3:8b", "prompt": "a"}) as answer:
        for _ in answer.iter_lines():
            came.append(time.monotonic())
            if len(came) == 3:
                break
    assert came[2] - came[0] > 0.3


def test_too_many_requests_are_refused(start: Start, hardware: Path) -> None:
    instance = start(OLLAMA_MAX_QUEUE="2", OLLAMA_NUM_PARALLEL="1")
    (hardware / "ollama-work").write_text("2")  # long enough for all to come in meanwhile

    def ask(_: int) -> httpx.Response:
        request = {"model": "qwen3:8b", "prompt": "Sky?", "stream": False}
        return httpx.post(f"{instance.api.base_url}/api/generate", json=request, timeout=20)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(6)))
    # one is answered, two wait for it
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 503, 503, 503]
    busy = next(answer for answer in answers if answer.status_code == 503)
    assert busy.json() == {"error": "server busy, please try again.  maximum pending requests exceeded"}


def test_parallel_requests_are_answered_at_once(start: Start, hardware: Path) -> None:
    instance = start(OLLAMA_NUM_PARALLEL="4")
    (hardware / "ollama-work").write_text("3")
    started = time.monotonic()
    request = {"model": "qwen3:8b", "prompt": "Sky?", "stream": False}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: instance.api.post("/api/generate", json=request), range(4)))
    assert all(answer.is_success for answer in answers)
    assert time.monotonic() - started < 2 * 3  # one after the other would take four times as long


def test_an_instance_can_be_made_slow(start: Start, hardware: Path) -> None:
    slow, other = start(), start()
    (hardware / f"ollama-delay-{slow.port}").write_text("30")
    with pytest.raises(httpx.ReadTimeout):
        slow.api.get("/api/version", timeout=0.3)
    assert other.api.get("/api/version", timeout=2).is_success
    (hardware / f"ollama-delay-{slow.port}").unlink()
    assert slow.api.get("/api/version", timeout=2).is_success


def test_a_comment_in_a_value_is_not_a_number(start: Start) -> None:
    instance = start(OLLAMA_NUM_PARALLEL="3            # Celeron: 3")
    text = instance.log.read_text()
    assert 'msg="invalid environment variable, using default" key=OLLAMA_NUM_PARALLEL' in text
    assert "'num_parallel': '1'" in text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("5m", 300.0), ("1h30m", 5400.0), ("24h", 86400.0), ("100ms", 0.1)),
        *(("0", 0.0), ("60", 60.0), ("-1", settings.FOREVER), ("-1m", settings.FOREVER), ("soon", None)),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert settings.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("127.0.0.1", 11434)),
        ("192.0.2.1:11435", ("192.0.2.1", 11435)),
        ("http://example.org", ("example.org", 80)),
        ("[::]:11436", ("::", 11436)),
        (":8080", ("127.0.0.1", 8080)),
        ("192.0.2.1:99999", ("192.0.2.1", 11434)),
    ],
)
def test_hosts(text: str, expected: tuple[str, int]) -> None:
    assert settings.parse_host(text) == expected


@pytest.mark.parametrize(
    ("text", "short", "path"),
    [
        ("qwen3:8b", "qwen3:8b", "registry.ollama.ai/library/qwen3/8b"),
        ("qwen3", "qwen3:latest", "registry.ollama.ai/library/qwen3/latest"),
        ("me/own:1", "me/own:1", "registry.ollama.ai/me/own/1"),
        ("host:5000/library/qwen3:8b", "host:5000/library/qwen3:8b", "host:5000/library/qwen3/8b"),
    ],
)
def test_names(text: str, short: str, path: str) -> None:
    assert str(Name.parse(text)) == short
    assert str(Name.parse(text).path) == path


@pytest.mark.parametrize("text", ["", "a/b/c/d", "../../etc/passwd", "a//b"])
def test_invalid_names(text: str) -> None:
    with pytest.raises(ValueError, match="invalid model name"):
        Name.parse(text)


# The vendor's own client


def test_the_vendor_s_client_understands_it(plain: Instance) -> None:
    client = ollama.Client(f"http://127.0.0.1:{plain.port}", verify=NO_AUTHORITIES)
    listed = {model.model: model for model in client.list().models}
    assert set(listed) == {"qwen3:8b", "llama3.1:8b"}
    details = listed["llama3.1:8b"].details
    assert details is not None and details.family == "llama" and details.quantization_level
    shown = client.show("llama3.1:8b")
    assert shown.modelinfo and shown.capabilities == ["completion", "tools"]

    question = [{"role": "user", "content": "How much is the roof?"}]
    whole = client.chat("llama3.1:8b", question)
    assert "roof" in (whole.message.content or "") and whole.done and whole.eval_count
    pieces = list(client.chat("llama3.1:8b", question, stream=True))
    assert "".join(piece.message.content or "" for piece in pieces) == whole.message.content
    assert [piece.done for piece in pieces[-2:]] == [False, True]
    generated = client.generate("llama3.1:8b", "How much is the roof?", format="json")
    assert json.loads(generated.response or "") and generated.done_reason == "stop"
    [loaded] = client.ps().models
    assert (loaded.model, loaded.size_vram) == ("llama3.1:8b", 0) and loaded.expires_at
    with pytest.raises(ollama.ResponseError, match="not found") as missing:
        client.chat("gpt-4o", question)
    assert missing.value.status_code == 404

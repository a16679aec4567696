"""What containers may ask of an Ollama instance: files/ollama/filter.js, run by Node where nginx runs it on a host."""

from __future__ import annotations

import atexit
import json
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from blueprint import contents
from tests.unit.declared import declared
from tests.unit.paths import CHECKOUT

FILTER = CHECKOUT / "files/ollama/filter.js"
MODEL = "qwen3:8b"

# nginx's request object, as far as the filter uses it; a request and its answer a line each.
RUN = """
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
const source = readFileSync(process.argv[1], 'utf8');
const filter = (await import(`data:text/javascript,${encodeURIComponent(source)}`)).default;
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const answer = { status: 200, body: '', logged: [] };
  filter.handle({
    method: request.method, uri: request.uri, requestText: request.text, remoteAddress: '10.0.1.7', headersOut: {},
    variables: {
      instance: request.instance, server_port: '11434',
      set body(text) { answer.body = text; },
    },
    warn(text) { answer.logged.push(text); },
    return(status, text) { answer.status = status; answer.body = text; },
    internalRedirect(name) { if (name !== '@ollama') throw new Error(name); },
  });
  console.log(JSON.stringify(answer));
}
"""


@dataclass(frozen=True)
class Answer:
    """What came of a request: a status with the body that went on to Ollama, or the error."""

    status: int
    body: str
    logged: list[str]


@cache
def node() -> subprocess.Popen[str]:
    """One Node for all tests: it takes longer to start than they do."""
    command = ["node", "--input-type=module", "--eval", RUN, str(FILTER)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)
    return process


def ask(method: str, uri: str, body: Any = "", yields_gpu: bool = False) -> Answer:
    instance = json.dumps({"model": MODEL, "context": 4096, "yields_gpu": yields_gpu})
    text = body if isinstance(body, str) else json.dumps(body)
    request = {"method": method, "uri": uri, "text": text, "instance": instance}
    process = node()
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    return Answer(**json.loads(process.stdout.readline()))


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/api/version"),
        ("GET", "/api/tags"),
        ("HEAD", "/api/tags"),
        ("GET", "/api/ps"),
        ("GET", "/v1/models"),
        ("GET", f"/v1/models/{MODEL}"),
    ],
)
def test_questions_without_a_body_go_on(method: str, uri: str) -> None:
    assert ask(method, uri) == Answer(200, "", [])


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/blobs/sha256:00"),
        ("HEAD", "/api/blobs/sha256:00"),
        ("POST", "/api/me"),
        ("POST", "/api/signout"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/messages"),
        ("GET", "/v1/models/other:7b"),
        ("GET", "/api/generate"),
        ("POST", "/api/tags"),
        ("OPTIONS", "/api/generate"),
        ("POST", "/api/generate/"),
        ("POST", "/API/generate"),
        ("POST", "__proto__"),
    ],
)
def test_everything_else_is_refused(method: str, uri: str) -> None:
    answer = ask(method, uri, {"model": MODEL})
    assert answer.status == 403
    assert "managed on the host" in answer.body
    assert len(answer.logged) == 1
    assert answer.logged[0].startswith("10.0.1.7 refused with 403 on port 11434")


GOES_ON: list[tuple[str, dict[str, Any]]] = [
    ("/api/show", {"name": MODEL}),
    ("/api/show", {"model": MODEL, "verbose": True}),
    ("/api/generate", {"model": MODEL, "prompt": 'é\n"\u0000', "stream": False, "images": ["aGk="]}),
    ("/api/generate", {"model": MODEL, "keep_alive": -1}),
    ("/api/generate", {"model": MODEL, "keep_alive": "-1m", "shift": True, "options": {"num_ctx": 4096}}),
    (
        "/api/chat",
        {
            "model": MODEL,
            "think": False,
            "messages": [{"role": "user", "content": "a"}],
            "options": {"seed": 7},
        },
    ),
    ("/api/embed", {"model": MODEL, "input": ["a", "b"], "options": {"temperature": 0.5}}),
    ("/api/embeddings", {"model": MODEL, "prompt": "a"}),
    ("/v1/chat/completions", {"model": MODEL, "stream": True, "messages": [], "tools": []}),
    ("/v1/completions", {"model": MODEL, "prompt": "a", "max_tokens": 3}),
    ("/v1/embeddings", {"model": MODEL, "input": "a"}),
]


@pytest.mark.parametrize(
    ("uri", "body"), GOES_ON, ids=[f"{uri}-{index}" for index, (uri, _) in enumerate(GOES_ON)]
)
def test_what_is_meant_for_containers_goes_on_as_it_came(uri: str, body: dict[str, Any]) -> None:
    answer = ask("POST", uri, body)
    assert (answer.status, json.loads(answer.body)) == (200, body)


KEPT_FOR_A_WHILE: list[Any] = [0, 300, "0", "0s", "5m", "-0s", "-0", False, [], "-1m\n0"]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("/api/generate", {"model": "llama3.1:8b"}, "model"),
    ("/api/generate", {"model": "QWEN3:8b"}, "model"),
    ("/api/generate", {"model": f"registry.ollama.ai/library/{MODEL}"}, "model"),
    ("/api/generate", {"MODEL": MODEL}, "model"),
    ("/api/generate", {"name": MODEL}, "model"),
    ("/api/generate", {}, "model"),
    ("/api/show", {"model": "gpt-oss:120b-cloud", "name": MODEL}, "model"),
    ("/v1/chat/completions", {"model": "llama3.1:8b", "messages": []}, "model"),
    ("/v1/embeddings", {"model": ["a"], "input": "a"}, "model"),
    *(("/api/generate", {"model": MODEL, "keep_alive": value}, "keep_alive") for value in KEPT_FOR_A_WHILE),
    ("/api/chat", {"model": MODEL, "messages": [], "keep_alive": 0}, "keep_alive"),
    ("/api/embed", {"model": MODEL, "input": "a", "keep_alive": 0}, "keep_alive"),
    ("/api/embeddings", {"model": MODEL, "prompt": "a", "keep_alive": 0}, "keep_alive"),
    ("/api/generate", {"model": MODEL, "shift": False}, "shift"),
    ("/api/chat", {"model": MODEL, "shift": 0}, "shift"),
    *(
        (uri, {"model": MODEL, "options": {name: value}}, f"options.{name}")
        for uri in ("/api/generate", "/api/chat", "/api/embed", "/api/embeddings")
        for name, value in (("num_ctx", 8192), ("num_gpu", 0))
    ),
    *(
        ("/api/generate", {"model": MODEL, "options": {name: value}}, f"options.{name}")
        for name, value in (
            ("num_ctx", "4096"),
            ("num_batch", 1),
            ("main_gpu", 1),
            ("use_mmap", False),
            ("num_thread", 1),
            ("draft_num_predict", 1),
        )
    ),
    ("/api/generate", {"model": MODEL, "options": [{"num_ctx": 8192}]}, "options"),
]


@pytest.mark.parametrize(
    ("uri", "body", "key"), REFUSED, ids=[f"{key}-{index}" for index, (_, _, key) in enumerate(REFUSED)]
)
def test_what_would_move_the_model_is_refused_by_name(uri: str, body: dict[str, Any], key: str) -> None:
    answer = ask("POST", uri, body)
    assert answer.status == 403
    error = json.loads(answer.body)["error"]
    message = error["message"] if uri.startswith("/v1/") else error
    assert message.startswith(f"{key}: found")


@pytest.mark.parametrize(
    ("body", "goes_on"),
    [
        # Ollama takes a key in any case, and Unicode's: it may read only what was checked.
        ('{"model": "%s", "Keep_Alive": 0, "\\u212aeep_alive": 0, "\\u017fhift": false}', {"model": MODEL}),
        ('{"model": "%s", "keep_alive": 0, "keep_alive": null}', {"model": MODEL}),
        # It merges two objects of one name.
        (
            '{"model": "%s", "options": {"num_ctx": 8}, "options": {"seed": 1}}',
            {"model": MODEL, "options": {"seed": 1}},
        ),
        ('{"model": "x", "model": "%s"}', {"model": MODEL}),
        ('{"model": "%s", "__proto__": {"keep_alive": 0}}', {"model": MODEL}),
        ('{"model": "%s", "what_comes": 1, "options": {"what_comes": 1}}', {"model": MODEL, "options": {}}),
    ],
)
def test_only_what_was_looked_at_goes_on(body: str, goes_on: dict[str, Any]) -> None:
    answer = ask("POST", "/api/generate", body % MODEL)
    assert (answer.status, json.loads(answer.body)) == (200, goes_on)


@pytest.mark.parametrize("body", ["", "nonsense", "[]", "null", '"text"', "1"])
def test_a_body_that_is_no_object_is_refused(body: str) -> None:
    assert ask("POST", "/api/chat", body).status == 400


def test_a_container_that_takes_turns_may_unload() -> None:
    body = {"model": MODEL, "keep_alive": 0}
    assert json.loads(ask("POST", "/api/generate", body, yields_gpu=True).body) == body
    assert ask("POST", "/api/generate", {**body, "model": "llama3.1:8b"}, yields_gpu=True).status == 403
    assert ask("POST", "/api/generate", {**body, "options": {"num_gpu": 0}}, yields_gpu=True).status == 403


def test_a_message_is_short_and_in_one_line() -> None:
    answer = ask("POST", "/api/generate", {"model": "\n" + "x" * 1000})
    assert all(len(text) < 250 and "\n" not in text for text in [answer.body, *answer.logged])
    assert "\n" not in ask("GET", "/api/\n2026/01/01 a line of its own").logged[0]


def test_only_the_instance_that_a_container_takes_turns_with_may_be_unloaded() -> None:
    blueprint = declared()
    instances = {
        one.name: json.loads(contents.ollama_filter(blueprint, one)) for one in blueprint.ollama_instances
    }
    assert {name for name, settings in instances.items() if settings["yields_gpu"]} == {"light"}
    assert {name: settings["model"] for name, settings in instances.items()} == {
        one.name: one.model for one in blueprint.ollama_instances
    }

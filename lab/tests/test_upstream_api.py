"""The API stand-ins, held to the documented answers and refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import groq as vendor
import httpx
import pytest

from lab.upstream.api import Apis, Request, Response, Server
from tests.unit.served import NO_AUTHORITIES

KEYS = {
    "groq": "gsk_right",
    "openai": "sk-right",
    "gemini": "AIzaRight",
    "telegram": "1234567890:AAright",
    "telegram_chat": "42",
}
CHAT: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "How much is the roof?"}],
}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "keys.json").write_text(json.dumps(KEYS))
    return tmp_path


@pytest.fixture
def apis(state: Path) -> Apis:
    return Apis(state)


def post(apis: Apis, host: str, path: str, body: object, key: str = "") -> Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return apis.answer(Request(host, "POST", path, headers=headers, body=json.dumps(body).encode()))


def openai(apis: Apis, path: str, body: object, key: str = KEYS["openai"]) -> Response:
    return post(apis, "api.openai.com", f"/v1{path}", body, key)


def groq(apis: Apis, path: str, body: object, key: str = KEYS["groq"]) -> Response:
    return post(apis, "api.groq.com", f"/openai/v1{path}", body, key)


def test_chat_answers_with_usage_and_names_the_model_for_the_log(apis: Apis) -> None:
    response = openai(apis, "/chat/completions", CHAT)
    assert (response.status, response.model) == (200, "gpt-4o-mini")
    content = response.content
    assert content["object"] == "chat.completion"
    assert "roof" in content["choices"][0]["message"]["content"]
    assert content["choices"][0]["finish_reason"] == "stop"
    usage = content["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_groq_says_its_service_tier(apis: Apis) -> None:
    response = groq(apis, "/chat/completions", {**CHAT, "model": "llama-3.1-8b-instant"})
    assert response.content["service_tier"] == "on_demand"


def test_a_stream_says_the_same_in_pieces(apis: Apis) -> None:
    whole = openai(apis, "/chat/completions", CHAT).content
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    *events, done = openai(apis, "/chat/completions", body).events
    assert done == "[DONE]"
    chunks = [json.loads(event) for event in events]
    output = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert output == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


def test_max_tokens_cuts_the_answer(apis: Apis) -> None:
    choice = openai(apis, "/chat/completions", {**CHAT, "max_tokens": 2}).content["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("This is", "length")


def test_json_is_answered_where_json_is_wanted(apis: Apis) -> None:
    response = openai(apis, "/chat/completions", {**CHAT, "response_format": {"type": "json_object"}})
    assert json.loads(response.content["choices"][0]["message"]["content"])


@pytest.mark.parametrize("key", ["", "sk-wrong", KEYS["groq"]])
def test_openai_refuses_other_keys(apis: Apis, key: str) -> None:
    response = openai(apis, "/chat/completions", CHAT, key)
    assert response.status == 401
    error = response.content["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["code"] == ("invalid_api_key" if key else None)
    assert key == "" or key not in error["message"]


def test_groq_refuses_in_its_own_words(apis: Apis) -> None:
    response = groq(apis, "/chat/completions", CHAT, "wrong")
    assert (response.status, response.content) == (
        401,
        {"error": {"message": "Invalid API Key", "type": "invalid_request_error", "code": "invalid_api_key"}},
    )


def test_unknown_and_retired_models(apis: Apis) -> None:
    unknown = groq(apis, "/chat/completions", {**CHAT, "model": "gpt-4o"})
    assert (unknown.status, unknown.content["error"]["code"]) == (404, "model_not_found")
    retired = groq(apis, "/chat/completions", {**CHAT, "model": "llama-3.1-70b-versatile"})
    assert (retired.status, retired.content["error"]["code"]) == (400, "model_decommissioned")


@pytest.mark.parametrize("body", [{"model": "gpt-4o"}, {"messages": CHAT["messages"]}, [], "text"])
def test_incomplete_requests_are_refused(apis: Apis, body: object) -> None:
    assert openai(apis, "/chat/completions", body).status == 400


def test_embeddings_are_stable_unit_vectors_of_the_model_s_size(apis: Apis) -> None:
    body = {"model": "text-embedding-3-small", "input": ["one", "two"]}
    first, second = (entry["embedding"] for entry in openai(apis, "/embeddings", body).content["data"])
    again = openai(apis, "/embeddings", {**body, "input": "one"}).content["data"][0]["embedding"]
    assert len(first) == len(second) == 1536
    assert first == again != second
    assert sum(value * value for value in first) == pytest.approx(1)


def test_transcription_takes_a_file_and_nothing_less(apis: Apis) -> None:
    def transcribe(fields: dict[str, str]) -> Response:
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{n}"; filename="x"\r\n\r\n{v}'
            for n, v in fields.items()
        ]
        body = "\r\n".join([*parts, "--b--", ""]).encode()
        headers = {
            "authorization": f"Bearer {KEYS['groq']}",
            "content-type": "multipart/form-data; boundary=b",
        }
        return apis.answer(
            Request("api.groq.com", "POST", "/openai/v1/audio/transcriptions", headers=headers, body=body)
        )

    good = transcribe({"model": "whisper-large-v3-turbo", "file": "RIFF"})
    assert (good.status, good.model) == (200, "whisper-large-v3-turbo")
    assert "4 bytes" in good.content["text"]
    assert transcribe({"model": "whisper-large-v3-turbo"}).status == 400
    assert transcribe({"model": "whisper-9", "file": "RIFF"}).status == 404


def test_models_are_listed_and_paths_are_checked(apis: Apis) -> None:
    headers = {"authorization": f"Bearer {KEYS['groq']}"}
    listed = apis.answer(Request("api.groq.com", "GET", "/openai/v1/models", headers=headers))
    names = [model["id"] for model in listed.content["data"]]
    assert {"qwen/qwen3-32b", "whisper-large-v3-turbo"} <= set(names)
    one = apis.answer(Request("api.groq.com", "GET", "/openai/v1/models/qwen/qwen3-32b", headers=headers))
    assert one.content["id"] == "qwen/qwen3-32b"
    assert apis.answer(Request("api.groq.com", "GET", "/v1/models", headers=headers)).status == 404


@pytest.fixture
def groqs_client(apis: Apis, state: Path) -> Iterator[vendor.Groq]:
    """Groq's own client, to the API's socket."""
    with Server(state / "api.sock", apis) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        socket = httpx.HTTPTransport(uds=str(state / "api.sock"), verify=NO_AUTHORITIES)
        http = httpx.Client(transport=socket)
        with vendor.Groq(
            api_key=KEYS["groq"],
            base_url="http://api.groq.com",
            http_client=http,
            max_retries=0,
            _strict_response_validation=True,
        ) as client:
            yield client
        server.shutdown()


def test_groq_s_own_client_understands_it(groqs_client: vendor.Groq) -> None:
    model, question = "llama-3.1-8b-instant", CHAT["messages"]
    completions = groqs_client.chat.completions
    whole = completions.create(model=model, messages=question)
    answer = whole.choices[0].message.content
    assert answer and "roof" in answer and whole.usage and whole.usage.total_tokens
    pieces = list(completions.create(model=model, messages=question, stream=True))
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == answer
    assert pieces[-1].choices[0].finish_reason == "stop"
    turbo = "whisper-large-v3-turbo"
    assert turbo in [each.id for each in groqs_client.models.list().data]
    assert groqs_client.audio.transcriptions.create(model=turbo, file=("a.wav", b"RIFF")).text
    with pytest.raises(vendor.NotFoundError, match="gpt-4o"):
        completions.create(model="gpt-4o", messages=question)
    with pytest.raises(vendor.AuthenticationError, match="Invalid API Key"):
        groqs_client.with_options(api_key="gsk_wrong").chat.completions.create(model=model, messages=question)


def test_gemini_speaks_its_own_api_and_openai_s(apis: Apis) -> None:
    host, path = "generativelanguage.googleapis.com", "/v1beta/models/gemini-2.5-flash:generateContent"
    body = json.dumps({"contents": [{"parts": [{"text": "hello"}]}]}).encode()

    def ask(path: str, key: str | None) -> Response:
        headers = {"x-goog-api-key": key} if key else {}
        return apis.answer(Request(host, "POST", path, headers=headers, body=body))

    assert "hello" in ask(path, KEYS["gemini"]).content["candidates"][0]["content"]["parts"][0]["text"]
    assert ask(path, None).content["error"]["status"] == "PERMISSION_DENIED"
    assert ask(path, "wrong").content["error"]["status"] == "INVALID_ARGUMENT"
    assert ask(path.replace("2.5-flash", "9"), KEYS["gemini"]).content["error"]["status"] == "NOT_FOUND"
    compatible = post(
        apis, host, "/v1beta/openai/chat/completions", {**CHAT, "model": "gemini-2.5-flash"}, KEYS["gemini"]
    )
    assert compatible.content["object"] == "chat.completion"


def telegram(apis: Apis, method: str, token: str = KEYS["telegram"], **message: object) -> Response:
    headers = {"content-type": "application/json"}
    body = json.dumps(message).encode()
    return apis.answer(
        Request("api.telegram.org", "POST", f"/bot{token}/{method}", headers=headers, body=body)
    )


def test_telegram_takes_a_message_and_keeps_it(apis: Apis, state: Path) -> None:
    response = telegram(apis, "sendMessage", chat_id=42, text="GPU 3 is missing", parse_mode="HTML")
    assert response.content["result"]["chat"]["id"] == 42
    kept = [json.loads(line) for line in (state / "telegram.jsonl").read_text().splitlines()]
    assert [(entry["chat_id"], entry["text"], entry["parse_mode"]) for entry in kept] == [
        ("42", "GPU 3 is missing", "HTML")
    ]
    form = Request(
        "api.telegram.org",
        "POST",
        f"/bot{KEYS['telegram']}/sendMessage",
        headers={"content-type": "application/x-www-form-urlencoded"},
        body=b"chat_id=42&text=caf%C3%A9",
    )
    assert apis.answer(form).content["result"]["text"] == "café"


@pytest.mark.parametrize(
    ("token", "message", "status", "description"),
    [
        ("1:wrong", {"chat_id": 42, "text": "x"}, 401, "Unauthorized"),
        (KEYS["telegram"], {"chat_id": 7, "text": "x"}, 400, "Bad Request: chat not found"),
        (KEYS["telegram"], {"text": "x"}, 400, "Bad Request: chat_id is empty"),
        (KEYS["telegram"], {"chat_id": 42, "text": " "}, 400, "Bad Request: message text is empty"),
        (KEYS["telegram"], {"chat_id": 42, "text": "x" * 4097}, 400, "Bad Request: message is too long"),
    ],
)
def test_telegram_refuses(
    apis: Apis, state: Path, token: str, message: dict[str, object], status: int, description: str
) -> None:
    response = telegram(apis, "sendMessage", token, **message)
    assert response.status == status
    assert response.content == {"ok": False, "error_code": status, "description": description}
    assert not (state / "telegram.jsonl").exists()


def test_a_disturbed_host_fails_in_its_own_shape_and_recovers(apis: Apis, state: Path) -> None:
    control = state / "control.json"
    control.write_text(json.dumps({"api.telegram.org": {"status": 502}, "api.groq.com": {"status": 429}}))
    assert telegram(apis, "getMe").content["error_code"] == 502
    assert groq(apis, "/chat/completions", CHAT).status == 429
    assert openai(apis, "/chat/completions", CHAT).status == 200
    control.unlink()
    assert telegram(apis, "getMe").content["ok"] is True


def test_a_model_can_vanish(apis: Apis, state: Path) -> None:
    (state / "control.json").write_text(json.dumps({"api.openai.com": {"missing_models": ["gpt-4o-mini"]}}))
    assert openai(apis, "/chat/completions", CHAT).status == 404
    assert openai(apis, "/chat/completions", {**CHAT, "model": "gpt-4o"}).status == 200


# --- certificates

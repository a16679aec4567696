"""What may reach LiteLLM: the decision (routes by caller and port, bodies, headers), and the layer that asks for it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest
import yaml
from guard import asgi, rules
from guard.rules import Caller, Declared, Kind, RefusedError

from blueprint import litellm, proxy
from tests.unit.declarations.shared import gateway, shared_stacks

DECLARED = Declared.read(litellm.guard_json(gateway))
PROJECT = Caller(Kind.PROJECT, "shop")
MASTER_KEY = "sk-master-0123456789abcdef"
SHOP_KEY = "sk-shop-0123456789abcdef"
PAGE_KEY = "sk-page-0123456789abcdef"
CHAT = {"model": "cheap", "messages": [{"role": "user", "content": "ping"}]}


def allowed(caller: Kind, method: str, path: str, on_domain: bool = False) -> int:
    """200, or the status of the refusal."""
    try:
        rules.route(DECLARED, caller, on_domain, method, path)
    except RefusedError as refused:
        return refused.status
    return 200


def judged(body: dict[str, Any], path: str = "/v1/chat/completions", caller: Caller = PROJECT) -> Any:
    route = rules.route(DECLARED, Kind.PROJECT, False, "POST", path)
    return json.loads(rules.checked_body(route, DECLARED, caller, json.dumps(body).encode()))


def refused(body: dict[str, Any], path: str = "/v1/chat/completions", caller: Caller = PROJECT) -> str:
    """The key that is refused."""
    with pytest.raises(RefusedError) as refusal:
        judged(body, path, caller)
    assert refusal.value.status == 400
    assert refusal.value.param in refusal.value.message
    return refusal.value.param


# --- routes


@pytest.mark.parametrize("on_domain", [False, True])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/chat/completions"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
        ("GET", "/key/info"),
        ("GET", "/team/info"),
        ("GET", "/health/liveliness"),
    ],
)
def test_a_project_asks_models_and_reads_what_is_its_own(method: str, path: str, on_domain: bool) -> None:
    assert allowed(Kind.PROJECT, method, path, on_domain) == 200


@pytest.mark.parametrize("on_domain", [False, True])
@pytest.mark.parametrize("caller", [Kind.PROJECT, Kind.DASHBOARD])
@pytest.mark.parametrize(
    "path",
    [
        "/openai/v1/models",
        "/openai/deployments/cheap/chat/completions",
        "/engines/cheap/chat/completions",
        "/gemini/v1beta/models/x:generateContent",
        "/vertex-ai/x",
        "/vertex_ai/x",
        "/anthropic/v1/messages",
        "/bedrock/model/x/invoke",
        "/cohere/v1/chat",
        "/azure/x",
        "/assemblyai/v2/upload",
        "/langfuse/api/public/traces",
        "/v1/messages",
        "/v1/files",
        "/v1/batches",
        "/v1/fine_tuning/jobs",
        "/v1/assistants",
        "/v1/threads",
        "/v1/audio/transcriptions",
        "/v1/audio/speech",
        "/v1/images/generations",
        "/v1/moderations",
        "/v1/rerank",
        "/v1/realtime",
        "/utils/transform_request",
        "/utils/token_counter",
        "/health",
        "/health/services",
        "/config/yaml",
        "/config/update",
        "/get/config/callbacks",
        "/key/generate",
        "/key/update",
        "/team/new",
        "/model/new",
        "/user/new",
        "/credentials",
        "/routes",
        "/openapi.json",
        "/metrics",
        "/test",
        "/",
    ],
)
def test_what_nobody_listed_is_refused(caller: Kind, path: str, on_domain: bool) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        assert allowed(caller, method, path, on_domain) == 403


@pytest.mark.parametrize(
    "path",
    [
        "//v1/models",
        "/v1//models",
        "/v1/models/",
        "/v1/models;x",
        "/v1/models?x",
        "/V1/models",
        "/v1/models\n",
        "/v1/../v1/models",
        "/v1/./models",
        "/v1/models%2f",
        " /v1/models",
        "v1/models",
        "",
    ],
)
def test_a_path_that_is_not_to_the_letter_that_of_a_route_is_refused(path: str) -> None:
    assert allowed(Kind.PROJECT, "GET", path) == 403


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/index.html", "/ui/_next/static/chunks/app/page-1a.js"])
def test_the_page_is_there_for_all_who_may_log_in(path: str) -> None:
    assert allowed(Kind.NOBODY, "GET", path, on_domain=True) == 200
    assert allowed(Kind.NOBODY, "POST", path, on_domain=True) == 401


@pytest.mark.parametrize(
    "path", ["/ui/../key/list", "/ui/..", "/ui//key/list", "/ui/%2e%2e/x", "/uix", "/ui/a b"]
)
def test_nothing_but_the_page_is_in_its_folder(path: str) -> None:
    assert allowed(Kind.NOBODY, "GET", path) == 401


def test_the_dashboard_looks_and_changes_nothing_unless_that_is_declared() -> None:
    for path in ("/key/list", "/team/list", "/global/spend/logs", "/v2/model/info"):
        assert allowed(Kind.DASHBOARD, "GET", path, on_domain=True) == 200
        assert allowed(Kind.DASHBOARD, "POST", path, on_domain=True) == 403
        assert allowed(Kind.PROJECT, "GET", path, on_domain=True) == 403
    declared = Declared(4000, 4001, DECLARED.models, frozenset({"/key/generate"}), 3600, "cache")
    for kind, status in ((Kind.DASHBOARD, 200), (Kind.MASTER, 200), (Kind.PROJECT, 403), (Kind.NOBODY, 401)):
        try:
            rules.route(declared, kind, True, "POST", "/key/generate")
            assert status == 200
        except RefusedError as refusal:
            assert refusal.status == status


@pytest.mark.parametrize(
    "path", ["/key/generate", "/team/new", "/health", "/v1/models", "/config/update", "/x"]
)
def test_the_master_key_works_inside_only(path: str) -> None:
    assert allowed(Kind.MASTER, "POST", path) == 200
    assert allowed(Kind.MASTER, "POST", path, on_domain=True) == 403


def test_without_a_key_there_is_health_and_the_login() -> None:
    for path in ("/health/liveliness", "/health/liveness", "/sso/key/generate"):
        assert allowed(Kind.NOBODY, "GET", path, on_domain=True) == 200
    assert allowed(Kind.NOBODY, "POST", "/login", on_domain=True) == 200
    # It names the database, the cache and the version.
    assert allowed(Kind.NOBODY, "GET", "/health/readiness") == 200
    assert allowed(Kind.NOBODY, "GET", "/health/readiness", on_domain=True) == 401
    for path in ("/routes", "/config/yaml", "/metrics", "/", "/v1/models"):
        assert allowed(Kind.NOBODY, "GET", path) == 401


def test_parameters_of_an_address_are_listed_too() -> None:
    team = rules.route(DECLARED, Kind.PROJECT, False, "GET", "/team/info")
    rules.queries(team, PROJECT, [("team_id", "shop")])
    chat = rules.route(DECLARED, Kind.PROJECT, False, "POST", "/v1/chat/completions")
    for route, pairs, status in (
        (team, [("team_id", "other")], 403),
        (team, [("team_id", "shop"), ("team_id", "shop")], 400),
        (chat, [("model", "openai/gpt-4o")], 400),
        (chat, [("api-version", "1")], 400),
        (rules.route(DECLARED, Kind.PROJECT, False, "GET", "/key/info"), [("key", "a hash")], 400),
    ):
        with pytest.raises(RefusedError) as refusal:
            rules.queries(route, PROJECT, pairs)
        assert refusal.value.status == status


# --- bodies

EVERYTHING = {
    "model": "default",
    "messages": [
        {"role": "system", "content": "os.environ/HOME is a text like any other here"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this?"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"},
                },
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "annotations": [],
            "audio": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "2"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "d",
                "parameters": {"type": "object", "properties": {"api_base": {"type": "string"}}},
                "strict": True,
            },
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.8,
    "max_tokens": 300,
    "stop": ["a", "b"],
    "logit_bias": {"50256": -100},
    "user": "u1",
    "fallbacks": ["cheap", "gpt-4o-mini"],
    "num_retries": 1,
    "timeout": 30,
    "tags": ["a"],
    "metadata": {"tags": ["project:shop", "task:x"], "trace_id": "t", "session_id": "s"},
    "modalities": ["text", "audio"],
    "audio": {"format": "mp3", "voice": "alloy"},
    "store": False,
    "prompt_cache_key": "a",
    "prompt_cache_retention": "24h",
    "safety_identifier": "a",
    "verbosity": "low",
}


def test_what_openai_documents_passes_unchanged() -> None:
    assert judged(EVERYTHING) == EVERYTHING
    body: dict[str, Any]
    for words in ("a", ["a", "b"], [[1, 2], [3]]):
        body = {"model": "embedding", "input": words}
        assert judged(body, "/v1/embeddings") == body
    body = {"model": "cheap", "prompt": "a", "max_tokens": 1}
    assert judged(body, "/v1/completions") == body


@pytest.mark.parametrize(
    "key",
    [
        "api_base",
        "api_key",
        "api_version",
        "azure_ad_token",
        "base_url",
        "callbacks",
        "configurable_clientside_auth_params",
        "cooldown_time",
        "custom_llm_provider",
        "deployment_id",
        "extra_body",
        "extra_headers",
        "fastest_response",
        "guardrails",
        "headers",
        "input_cost_per_token",
        "keep_alive",
        "langfuse_host",
        "langfuse_public_key",
        "langfuse_secret_key",
        "litellm_params",
        "litellm_session_id",
        "mock_response",
        "mock_testing_fallbacks",
        "mock_timeout",
        "model_list",
        "no-log",
        "num_ctx",
        "organization",
        "prompt_id",
        "provider_specific_header",
        "proxy_server_request",
        "router_settings",
        "service_tier",
        "success_callback",
        "turn_off_message_logging",
        "user_config",
        "vertex_credentials",
        "web_search_options",
        "User_Config",
        "user_config ",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
@pytest.mark.parametrize("value", [None, "x", {"model_list": []}])
def test_a_key_that_is_not_listed_is_refused_by_name(key: str, path: str, value: object) -> None:
    assert refused({"model": "cheap", key: value}, path) == key


def nested(where: str, value: Any) -> dict[str, Any]:
    """CHAT with something at a place of it."""
    body: Any = json.loads(json.dumps(EVERYTHING))
    *parents, last = [int(name) if name.isdigit() else name for name in where.split(".")]
    place = body
    for name in parents:
        place = place[name]
    place[last] = value
    return dict(body)


@pytest.mark.parametrize(
    ("where", "value", "named"),
    [
        ("model", "openai/gpt-4o", "model"),
        ("model", "ollama_chat/qwen3:8b", "model"),
        ("model", "cheap,openai/gpt-4o", "model"),
        ("model", "*", "model"),
        ("model", ["cheap"], "model"),
        ("model", None, "model"),
        ("fallbacks", [{"model": "cheap", "api_base": "http://x"}], "fallbacks[0]"),
        ("fallbacks", ["openai/gpt-4o"], "fallbacks[0]"),
        ("fallbacks", {"cheap": ["x"]}, "fallbacks"),
        ("metadata.langfuse_host", {"a": "http://x"}, "metadata.langfuse_host"),
        ("metadata.trace_metadata", {"a": {"b": 1}}, "metadata.trace_metadata.a"),
        ("metadata.tags", "x", "metadata.tags"),
        ("metadata.tags", [{"a": 1}], "metadata.tags[0]"),
        ("metadata.trace_id", "os.environ/LITELLM_MASTER_KEY", "metadata.trace_id"),
        ("metadata", [], "metadata"),
        ("user", "os.environ/LITELLM_MASTER_KEY", "user"),
        ("user", {"api_base": "x"}, "user"),
        ("cache", {"namespace": "litellm-cache:other"}, "cache.namespace"),
        ("cache", {"use-cache": True, "ttl": 10**9}, "cache.ttl"),
        ("cache", "x", "cache"),
        ("num_retries", 100, "num_retries"),
        ("timeout", 10**6, "timeout"),
        (
            "messages.1.content.1.image_url.url",
            "http://langfuse:3000/x.png",
            "messages[1].content[1].image_url.url",
        ),
        ("messages.1.content.1.image_url", "https://x.pro/x.png", "messages[1].content[1].image_url"),
        ("messages.1.content.1.image_url.url", "gs://x/y", "messages[1].content[1].image_url.url"),
        (
            "messages.1.content.1",
            {"type": "file", "file": {"file_id": "http://x"}},
            "messages[1].content[1].type",
        ),
        ("messages.1.content.0.cache", 1, "messages[1].content[0].cache"),
        ("messages.0.api_base", "x", "messages[0].api_base"),
        ("messages.0.content", {"a": 1}, "messages[0].content"),
        ("messages", {"a": 1}, "messages"),
        ("messages", ["x"], "messages[0]"),
        ("tools.0.type", "web_search_preview", "tools[0].type"),
        ("tools.0.googleSearch", {}, "tools[0].googleSearch"),
        ("tools.0.function.api_base", "x", "tools[0].function.api_base"),
        ("response_format.api_base", "x", "response_format.api_base"),
        ("stream_options.api_base", "x", "stream_options.api_base"),
        ("stop", [{"a": 1}], "stop[0]"),
        ("temperature", {"a": 1}, "temperature"),
        ("logit_bias", {"a": "x"}, "logit_bias.a"),
    ],
)
def test_what_is_nested_is_looked_at_as_well(where: str, value: Any, named: str) -> None:
    assert refused(nested(where, value)) == named


def test_a_team_with_a_list_of_models_has_no_others_as_fallbacks() -> None:
    """LiteLLM itself checks `model`, against the team at this moment."""
    few = Caller(Kind.PROJECT, "shop", frozenset({"cheap"}))
    assert judged(CHAT, caller=few) == CHAT
    assert judged({**CHAT, "model": "gpt-4o"}, caller=few)["model"] == "gpt-4o"
    assert refused({**CHAT, "fallbacks": ["gpt-4o"]}, caller=few) == "fallbacks[0]"


def test_kept_answers_are_the_teams_own() -> None:
    body = {**CHAT, "cache": {"use-cache": True, "ttl": 600}}
    assert judged(body)["cache"]["namespace"] == "litellm-cache:shop"
    assert judged(CHAT) == CHAT


def test_a_projects_own_metadata_is_no_order_to_litellm() -> None:
    sent = {**CHAT, "metadata": {"tags": ["a"], "jury": 3, "redis_namespace": "x", "user_api_key": "y"}}
    assert judged(sent)["metadata"] == {
        "tags": ["a"],
        "trace_metadata": {"jury": 3, "redis_namespace": "x", "user_api_key": "y"},
    }


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"cheap","model":"openai/gpt-4o"}',
        b'{"model":"cheap","metadata":{"tags":[],"tags":["x"]}}',
        b'{"model":"cheap","temperature":NaN}',
        b'{"model":"cheap","temperature":1e999}',
        b'{"model":"cheap","user":"\\ud800"}',
        b'\xef\xbb\xbf{"model":"cheap"}',
        '{"model":"cheap"}'.encode("utf-16"),
        b'{"model":"\xff"}',
        b'[{"model":"cheap"}]',
        b'"cheap"',
        b"model=cheap",
        b"",
        b"{",
        b"[" * 100_000,
        b'{"model":"cheap","tools":[{"type":"function","function":{"parameters":'
        + b'{"a":' * 500
        + b"1"
        + b"}" * 500
        + b"}}]}",
    ],
)
def test_a_body_that_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    route = rules.route(DECLARED, Kind.PROJECT, False, "POST", "/v1/chat/completions")
    with pytest.raises(RefusedError) as refusal:
        rules.checked_body(route, DECLARED, PROJECT, raw)
    assert refusal.value.status == 400


def test_a_body_that_grows_in_memory_is_refused() -> None:
    route = rules.route(DECLARED, Kind.PROJECT, False, "POST", "/v1/chat/completions")
    with pytest.raises(RefusedError) as refusal:
        rules.checked_body(route, DECLARED, PROJECT, b'{"messages":[' + b"[]," * rules.PARTS_LIMIT + b"[]]}")
    assert refusal.value.status == 413


# --- credentials, headers, logs


@pytest.mark.parametrize("name", rules.CREDENTIALS)
def test_a_key_is_found_wherever_litellm_looks_for_one(name: str) -> None:
    assert rules.credential([(name, SHOP_KEY)]) == SHOP_KEY
    assert rules.credential([(name, f"Bearer {SHOP_KEY}")]) == SHOP_KEY
    with pytest.raises(RefusedError):
        rules.credential(
            [(name, SHOP_KEY), ("authorization", f"Bearer {MASTER_KEY}"), ("api-key", "sk-third")]
        )


@pytest.mark.parametrize(
    "value", ["Bearer a-password", "a-password", "Basic cGFzc3dvcmQ=", "Digest x", "sk-a b"]
)
def test_what_is_no_key_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        rules.credential([("authorization", value)])
    assert refusal.value.status == 401
    assert value.split()[-1] not in refusal.value.message


def test_a_projects_headers_give_no_orders() -> None:
    sent = [
        ("host", "litellm:4000"),
        ("accept", "*/*"),
        ("user-agent", "u"),
        ("x-api-key", SHOP_KEY),
        ("langfuse_existing_trace_id", "x"),
        ("x-litellm-enable-message-redaction", "false"),
        ("x-litellm-call-id", "x"),
        ("x-litellm-timeout", "99999"),
        ("cache-control", "s-maxage=9"),
        ("openai-organization", "x"),
        ("anthropic-beta", "x"),
        ("traceparent", "x"),
        ("cookie", "token=x"),
        ("content-type", "multipart/form-data"),
        ("transfer-encoding", "chunked"),
    ]
    assert rules.headers_for(Kind.PROJECT, sent, SHOP_KEY) == [
        ("host", "litellm:4000"),
        ("accept", "*/*"),
        ("user-agent", "u"),
        ("authorization", f"Bearer {SHOP_KEY}"),
    ]


@pytest.mark.parametrize(
    "sent",
    [
        [("host", "litellm/key/info?x=")],
        [("host", "a@b")],
        [("host", "a"), ("host", "b")],
        [("content-type", "application/json"), ("content-type", "x/form")],
        [("content-encoding", "gzip")],
    ],
)
def test_headers_that_mean_something_else_to_litellm_are_refused(sent: list[tuple[str, str]]) -> None:
    with pytest.raises(RefusedError):
        rules.headers_for(Kind.PROJECT, sent, SHOP_KEY)


def test_a_log_has_nothing_that_a_caller_made_up() -> None:
    words = frozenset({"v1", "models", "key", "gemini"})
    for method, path, expected in (
        ("GET", "/v1/models", "GET /v1/models"),
        ("GET", f"/key/{SHOP_KEY}/regenerate", "GET /key/…"),
        ("GET", f"/gemini/{SHOP_KEY}", "GET /gemini/…"),
        ("GET", f"/{SHOP_KEY}/models", "GET /…"),
        (SHOP_KEY, "/v1/models", "… /v1/models"),
    ):
        assert rules.shown(method, path, words) == expected


# --- the layer


class Litellm:
    """What stands behind the guard: it remembers what reaches it, and answers in two parts."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, Any], bytes]] = []

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        body = (await receive())["body"]
        self.got.append((dict(scope), body))
        headers = [(b"x-litellm-model-api-base", b"http://host:1"), (b"x-litellm-model-id", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in (b"one", b"two"):
            await send({"type": "http.response.body", "body": part, "more_body": part == b"one"})


async def owner_of(key: str) -> tuple[str, frozenset[str]] | None:
    teams = {SHOP_KEY: "shop", PAGE_KEY: rules.DASHBOARD_TEAM}
    return (teams[key], frozenset()) if key in teams else None


def guard(app: asgi.App) -> asgi.Guard:
    return asgi.Guard(app, DECLARED, MASTER_KEY, owner_of, frozenset({"v1", "chat", "completions", "gemini"}))


def send(
    layer: asgi.Guard,
    path: str = "/v1/chat/completions",
    body: bytes = json.dumps(CHAT).encode(),
    key: str = SHOP_KEY,
    query: str = "",
    headers: Iterable[tuple[str, str]] = (),
    port: int = 4000,
    method: str = "POST",
) -> list[asgi.Message]:
    """What the layer answers to a request, message by message."""
    sent = [("Host", "litellm:4000"), ("Content-Type", "application/json"), *headers]
    if key:
        sent.append(("Authorization", f"Bearer {key}"))
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent],
        "server": ("10.0.0.9", port),
        "client": ("10.0.0.8", 1),
    }
    halves = [body[: len(body) // 2], body[len(body) // 2 :]]
    answered: list[asgi.Message] = []

    async def receive() -> asgi.Message:
        return {"type": "http.request", "body": halves.pop(0), "more_body": bool(halves)}

    async def answer(message: asgi.Message) -> None:
        answered.append(message)

    asyncio.run(layer(scope, receive, answer))
    return answered


def test_litellm_gets_what_was_judged() -> None:
    app = Litellm()
    answer = send(
        guard(app), headers=[("x-api-key", SHOP_KEY), ("langfuse_host", "x"), ("Content-Length", "9")]
    )
    assert [message.get("body") for message in answer] == [None, b"one", b"two"]
    assert answer[0]["headers"] == [(b"x-litellm-model-id", b"1")]  # not where the model is
    [(scope, body)] = app.got
    assert json.loads(body) == CHAT
    assert dict(scope["headers"]) == {
        b"host": b"litellm:4000",
        b"authorization": f"Bearer {SHOP_KEY}".encode(),
        b"content-type": b"application/json",
        b"content-length": str(len(body)).encode(),
    }


@pytest.mark.parametrize(
    ("attempt", "status"),
    [
        ({"key": ""}, 401),
        ({"key": "sk-unknown-0123456789"}, 401),
        ({"key": PAGE_KEY}, 403),
        ({"key": MASTER_KEY, "port": 4001}, 403),
        ({"key": MASTER_KEY, "port": 9}, 403),
        ({"path": "/key/generate"}, 403),
        ({"query": "model=openai/gpt-4o"}, 400),
        ({"query": "a" * 5000}, 414),
        ({"body": b'{"model":"cheap","user_config":{}}'}, 400),
        ({"body": b'{"model":"cheap","user_config":{}}', "headers": [("Content-Type", "text/plain")]}, 400),
        ({"body": b"x" * (rules.BODY_LIMIT + 2)}, 413),
        ({"body": b"", "headers": [("Content-Length", str(rules.BODY_LIMIT + 1))]}, 413),
        ({"method": "GET", "path": "/v1/models", "body": b"{}"}, 413),
    ],
)
def test_what_is_refused_never_reaches_litellm(attempt: dict[str, Any], status: int) -> None:
    app = Litellm()
    layer = guard(app)
    answer = send(layer, **attempt)
    assert answer[0]["status"] == status
    assert "message" in json.loads(answer[1]["body"])["error"]
    assert app.got == []
    assert not layer.in_flight


def test_the_master_key_is_handed_everything_inside() -> None:
    app = Litellm()
    body = b'{"model":"cheap","mock_testing_fallbacks":true}'
    assert send(guard(app), key=MASTER_KEY, body=body)[0]["status"] == 200
    assert send(guard(app), key=MASTER_KEY, path="/key/generate", query="a=b")[0]["status"] == 200
    assert app.got[0][1] in body


def test_one_key_cannot_fill_the_memory() -> None:
    layer = guard(Litellm())
    layer.in_flight[SHOP_KEY] = asgi.IN_FLIGHT_LIMIT
    answer = send(layer, headers=[("Content-Length", str(len(json.dumps(CHAT))))])
    assert answer[0]["status"] == 429
    layer.in_flight.clear()
    assert send(layer)[0]["status"] == 200
    assert not layer.in_flight


def test_no_credential_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    layer = guard(Litellm())
    send(layer)
    send(layer, query=f"key={SHOP_KEY}")
    send(layer, path=f"/gemini/{SHOP_KEY}", query=f"key={SHOP_KEY}", method="GET", body=b"")
    send(layer, key="", headers=[("x-goog-api-key", "another-password")])
    assert [record.getMessage() for record in caplog.records if record.name == "uvicorn.guard"] == [
        "10.0.0.8 POST /v1/chat/completions 200",
        "10.0.0.8 POST /v1/chat/completions 400",
        "10.0.0.8 GET /gemini/… 403",
        "10.0.0.8 POST /v1/chat/completions 401",
    ]
    assert SHOP_KEY not in caplog.text and "another-password" not in caplog.text


def test_a_gateway_without_a_master_key_does_not_start() -> None:
    with pytest.raises(ValueError, match="master key"):
        asgi.Guard(Litellm(), DECLARED, "", owner_of)


def test_the_domain_and_the_containers_have_a_port_each() -> None:
    [service] = [one for stack in shared_stacks for one in stack.services if one.name == gateway.container]
    assert (service.port, service.domain_port) == (DECLARED.port, DECLARED.domain_port)
    assert DECLARED.port != DECLARED.domain_port
    # Whatever proxy serves the domain asks that port, and no other one.
    assert {f"{DECLARED.domain_port}"} == {
        value for name, value in proxy.labels(service, "coolify").items() if name.endswith("server.port")
    }
    routes = yaml.safe_load(proxy.routes_yaml([service]))["http"]["services"][service.name]
    assert routes["loadBalancer"]["servers"] == [{"url": f"http://{service.name}:{DECLARED.domain_port}"}]
    assert DECLARED.models == set(gateway.names)

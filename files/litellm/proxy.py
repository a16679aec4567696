"""Read, change or test the LiteLLM proxy of the container in which this runs.

    python3 -c "$(cat proxy.py)" PORT SECONDS read      print teams, keys, users and models of its database, as one line
                                                        of JSON; keys by their hash
    python3 -c "$(cat proxy.py)" PORT SECONDS apply     send the requests that standard input lists, in order
    python3 -c "$(cat proxy.py)" PORT SECONDS verify    test what standard input lists, and report what fails

SECONDS is how long to wait for the proxy and its database. The master key is the container's own LITELLM_MASTER_KEY, so
it leaves no container. Standard input is JSON, see `apply` and `verify`.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

PAGE = 100  # most entries of a page of /key/list
SPEND_S = 90  # the proxy records spend every 10 to 30 seconds
TRACE_S = 60  # Langfuse's client sends batches, and its worker reads them later
PROBE = "Answer with one word: pong."


class ProxyError(Exception):
    """The proxy refused a request; `status` is its HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status


@dataclass(frozen=True)
class Answer:
    content: Any
    headers: Mapping[str, str]


@dataclass
class ProxyClient:
    """The proxy, called with its master key or another one."""

    port: int
    key: str = field(default_factory=lambda: os.environ["LITELLM_MASTER_KEY"], repr=False)

    def request(self, path: str, body: Any = None, key: str = "") -> Answer:
        """POST a body, or GET without one.

        :raises ProxyError: the proxy answered with an error
        :raises OSError: no answer
        """
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"},
        )
        return _answer(request)

    def chat(self, model: str, key: str = "", **options: Any) -> Answer:
        """A short request to a chat model."""
        body = {"model": model, "messages": [{"role": "user", "content": PROBE}], "max_tokens": 16}
        return self.request("/v1/chat/completions", {**body, **options}, key)

    def embed(self, model: str, **options: Any) -> Answer:
        return self.request("/v1/embeddings", {"model": model, "input": PROBE, **options})

    def await_ready(self, seconds: float) -> None:
        """Wait until the proxy answers and has its database; end the program if that takes too long."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                state = self.request("/health/readiness").content
                if state.get("db") == "connected":
                    return
                reason = f"its database is {state.get('db')!r}"
            except (ProxyError, OSError, ValueError) as error:
                reason = str(error)
            if time.monotonic() > deadline:
                sys.exit(
                    f"found:    LiteLLM is not ready after {seconds:.0f} s: {reason}\n"
                    "expected: an answer of /health/readiness with its database connected\n"
                    "fix:      docker logs --tail 50 of its container; is Postgres up, and DATABASE_URL right?"
                )
            time.sleep(0.5)


def _answer(request: urllib.request.Request) -> Answer:
    # Directly, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=180) as answer:
            return Answer(json.load(answer), answer.headers)
    except urllib.error.HTTPError as error:
        raise ProxyError(error.code, _reason(error.read())) from None


def _reason(body: bytes) -> str:
    """The text of a refusal, without its JSON."""
    text = body.decode(errors="replace")
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"]["message"])
    return " ".join(text.split())[:300]


def read(proxy: ProxyClient) -> None:
    """Print the contents of the database."""
    teams = [
        {
            "id": team["team_id"],
            "alias": team.get("team_alias"),
            "max_budget": team.get("max_budget"),
            "budget_duration": team.get("budget_duration"),
            "models": team.get("models") or [],
            "spend": team.get("spend") or 0.0,
        }
        for team in proxy.request("/team/list").content
    ]
    keys = [
        {
            "hash": key["token"],
            "alias": key.get("key_alias"),
            "team": key.get("team_id"),
            "models": key.get("models") or [],
            "user": key.get("user_id"),
            "max_budget": key.get("max_budget"),
        }
        for key in _pages(proxy, f"/key/list?return_full_object=true&size={PAGE}", "keys")
    ]
    users = [
        {"id": user["user_id"], "email": user.get("user_email"), "role": user.get("user_role")}
        for user in _pages(proxy, f"/user/list?page_size={PAGE}", "users")
    ]
    models = [
        model["model_name"]
        for model in proxy.request("/model/info").content["data"]
        if model["model_info"].get("db_model")
    ]
    report(json.dumps({"teams": teams, "keys": keys, "users": users, "models": models}))


def _pages(proxy: ProxyClient, path: str, what: str) -> Iterator[dict[str, Any]]:
    """Entries of all pages of a list."""
    page = pages = 1
    while page <= pages:
        answer = proxy.request(f"{path}&page={page}").content
        yield from answer[what]
        page, pages = page + 1, answer["total_pages"]


def apply(proxy: ProxyClient, steps: list[dict[str, Any]]) -> None:
    """Do the steps, [{"description": …, "path": …, "body": {…}}, …]; the first refusal ends the program."""
    for step in steps:
        try:
            proxy.request(step["path"], step["body"])
        except (ProxyError, OSError) as error:
            reason = str(error)
            if key := step["body"].get("key"):
                reason = reason.replace(key, "<key>")
            sys.exit(
                f"found:    {step['description']}: {reason}\nexpected: success\nfix:      docker logs of its container"
            )
        report(step["description"])


# --- verify


class Trial:
    """Runs tests one after the other, and remembers those that failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """One test: reports its result, and lets the next one run."""
        started = time.monotonic()
        try:
            yield
        except (ProxyError, OSError, AssertionError, KeyError, ValueError) as error:
            self.failed.append(name)
            report(f"FAIL  {name}: {error}")
        else:
            report(f"ok    {name} ({time.monotonic() - started:.1f} s)")


def verify(proxy: ProxyClient, expected: dict[str, Any]) -> None:
    """Test everything that is expected to work, and report each result.

    {"chat": [models], "embeddings": [models], "aliases": {alias: model}, "fallbacks": {model: [models]},
    "keys": {team: key}, "priced": a model whose answers have a price, or "", "traced": whether calls are traced in
    Langfuse}
    """
    trial = Trial()
    with trial.of("health"):
        proxy.request("/health/liveliness")
        proxy.request("/health/readiness")
    used: dict[str, str | None] = {}
    for models, call in ((expected["chat"], proxy.chat), (expected["embeddings"], proxy.embed)):
        _try_routes(trial, models, call, used)
    embedding = set(expected["embeddings"])
    for alias, model in expected["aliases"].items():
        with trial.of(f"alias {alias}"):
            call = proxy.embed if model in embedding else proxy.chat
            deployment = call(alias, disable_fallbacks=True).headers["x-litellm-model-id"]
            expect(deployment == used.get(model), f"not answered by {model}")
    for model, chain in expected["fallbacks"].items():
        with trial.of(f"fallback of {model}"):
            # LiteLLM's own way to fail a model for one request.
            headers = proxy.chat(model, mock_testing_fallbacks=True).headers
            expect(headers["x-litellm-model-group"] in chain, f"{headers['x-litellm-model-group']} answered")
    if expected["chat"]:
        with trial.of("cache"):
            _try_cache(proxy, expected["priced"] or expected["chat"][0])
    with trial.of("an unknown key is refused"):
        expect_refusal(lambda: proxy.request("/v1/models", key=f"sk-{secrets.token_hex(16)}"), 401)
    for team, key in expected["keys"].items():
        with trial.of(f"key of {team}"):
            proxy.request("/v1/models", key=key)
            # No project may read addresses of models: the guard in front of LiteLLM refuses that.
            expect_refusal(partial(proxy.request, "/model/info", key=key), 403)
    if expected["priced"]:
        with trial.of("spend is recorded, and a spent budget refuses its own team only"):
            _try_budget(proxy, expected["priced"])
    if expected["traced"]:
        with trial.of("a call is traced in Langfuse, without its words"):
            _try_trace(proxy, expected["chat"][0])
    if trial.failed:
        report(f"{len(trial.failed)} failed: {', '.join(trial.failed)}")


def _try_routes(
    trial: Trial, models: list[str], call: Callable[..., Answer], used: dict[str, str | None]
) -> None:
    """Test each model without its fallbacks; `used` gets the deployment that answered."""
    for model in models:
        with trial.of(f"route {model}"):
            used[model] = call(model, disable_fallbacks=True).headers["x-litellm-model-id"]


def _try_cache(proxy: ProxyClient, model: str) -> None:
    """An answer that was to be cached is repeated; another one is not."""
    question = f"Answer with one word: {secrets.token_hex(4)}."
    options: dict[str, Any] = {"messages": [{"role": "user", "content": question}]}
    cache = {"use-cache": True, "ttl": 60}
    first, second = (proxy.chat(model, cache=cache, **options).content["id"] for _ in range(2))
    expect(first == second, "the second answer was not the cached one")
    expect(
        proxy.chat(model, **options).content["id"] != first,
        "an answer came from the cache unasked",
    )


def _try_budget(proxy: ProxyClient, model: str) -> None:
    """A temporary team spends more than its budget."""
    team = f"verify-{secrets.token_hex(4)}"
    key = f"sk-{secrets.token_urlsafe(32)}"
    proxy.request(
        "/team/new", {"team_id": team, "team_alias": team, "max_budget": 1e-9, "budget_duration": "1d"}
    )
    try:
        proxy.request("/key/generate", {"key": key, "key_alias": team, "team_id": team})
        proxy.chat(model, key=key)
        deadline = time.monotonic() + SPEND_S
        while not proxy.request(f"/team/info?team_id={team}").content["team_info"]["spend"]:
            expect(time.monotonic() < deadline, f"no spend recorded within {SPEND_S} s")
            time.sleep(1)
        expect_refusal(lambda: proxy.chat(model, key=key), 400, 429)
        proxy.chat(model)
    finally:
        proxy.request("/team/delete", {"team_ids": [team]})


def _try_trace(proxy: ProxyClient, model: str) -> None:
    """A call has its trace, and the trace does not have the prompt."""
    trace = f"verify-{secrets.token_hex(8)}"
    proxy.chat(model, metadata={"trace_id": trace})
    deadline = time.monotonic() + TRACE_S
    while True:
        try:
            trace_found = _langfuse(f"/api/public/traces/{trace}")
            if trace_found["observations"]:
                break
        except ProxyError as refusal:
            if refusal.status != 404:
                raise
        expect(time.monotonic() < deadline, f"no trace within {TRACE_S} s")
        time.sleep(1)
    expect(PROBE not in json.dumps(trace_found), "the trace shows the prompt")


def _langfuse(path: str) -> Any:
    """The answer of our Langfuse, with the keys of the proxy's own callback."""
    keys = f"{os.environ['LANGFUSE_PUBLIC_KEY']}:{os.environ['LANGFUSE_SECRET_KEY']}"
    basic = base64.b64encode(keys.encode()).decode()
    url = os.environ["LANGFUSE_HOST"] + path
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {basic}"})  # noqa: S310 - our own setting
    return _answer(request).content


def expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def expect_refusal(request: Callable[[], Answer], *statuses: int) -> None:
    try:
        request()
    except ProxyError as refusal:
        expect(refusal.status in statuses, f"refused with {refusal}")
    else:
        raise AssertionError("not refused")


def report(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the output of this program


def main() -> None:
    port, seconds, action = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    data: Any = None if action == "read" else json.load(sys.stdin)
    proxy = ProxyClient(port)
    proxy.await_ready(seconds)
    if action == "read":
        read(proxy)
    elif action == "apply":
        apply(proxy, data)
    else:
        verify(proxy, data)


if __name__ == "__main__":
    main()

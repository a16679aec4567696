"""Read, change or try the LiteLLM proxy in whose container this runs.

    python3 -c "$(cat proxy.py)" PORT SECONDS read      teams, keys, users and models that its database has, as one line
                                                        of JSON; keys by their hash
    python3 -c "$(cat proxy.py)" PORT SECONDS apply     do the requests that standard input lists, in order
    python3 -c "$(cat proxy.py)" PORT SECONDS verify    try what standard input says, and tell what does not work

SECONDS is how long to wait for the proxy and its database. The master key is the container's own LITELLM_MASTER_KEY, so
it travels nowhere. Standard input is JSON, see `apply` and `verify`.
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

PAGE = 100  # the most that /key/list gives at once
SPEND_S = 90  # the proxy writes what was spent every 10 to 30 seconds
TRACE_S = 60  # Langfuse's client sends in batches, its worker reads them later
PROBE = "Answer with one word: pong."


class RefusedError(Exception):
    """The proxy refused a request; `status` is its HTTP status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"{status} {words}")
        self.status = status


@dataclass(frozen=True)
class Answer:
    content: Any
    headers: Mapping[str, str]


@dataclass
class Proxy:
    """The proxy, asked with its master key unless another one is given."""

    port: int
    key: str = field(default_factory=lambda: os.environ["LITELLM_MASTER_KEY"], repr=False)

    def ask(self, path: str, body: Any = None, key: str = "") -> Answer:
        """POST a body, or GET without one.

        :raises RefusedError: any answer but a good one
        :raises OSError: no answer
        """
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"},
        )
        return _answer(request)

    def chat(self, model: str, key: str = "", **options: Any) -> Answer:
        """A short question to a model."""
        body = {"model": model, "messages": [{"role": "user", "content": PROBE}], "max_tokens": 16}
        return self.ask("/v1/chat/completions", {**body, **options}, key)

    def embed(self, model: str, **options: Any) -> Answer:
        return self.ask("/v1/embeddings", {"model": model, "input": PROBE, **options})

    def await_ready(self, seconds: float) -> None:
        """Return when the proxy answers and has its database; end the program when it does not in time."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                state = self.ask("/health/readiness").content
                if state.get("db") == "connected":
                    return
                found = f"its database is {state.get('db')!r}"
            except (RefusedError, OSError, ValueError) as error:
                found = str(error)
            if time.monotonic() > deadline:
                sys.exit(
                    f"found:    LiteLLM is not ready after {seconds:.0f} s: {found}\n"
                    "expected: an answer of /health/readiness with its database connected\n"
                    "fix:      docker logs --tail 50 of its container; is Postgres up, and DATABASE_URL right?"
                )
            time.sleep(0.5)


def _answer(request: urllib.request.Request) -> Answer:
    # Straight to the container, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=180) as answer:
            return Answer(json.load(answer), answer.headers)
    except urllib.error.HTTPError as error:
        raise RefusedError(error.code, _words(error.read())) from None


def _words(body: bytes) -> str:
    """What a refusal says, without its wrapping."""
    text = body.decode(errors="replace")
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"]["message"])
    return " ".join(text.split())[:300]


def read(proxy: Proxy) -> None:
    """Print what there is."""
    teams = [
        {
            "id": team["team_id"],
            "alias": team.get("team_alias"),
            "max_budget": team.get("max_budget"),
            "budget_duration": team.get("budget_duration"),
            "models": team.get("models") or [],
            "spend": team.get("spend") or 0.0,
        }
        for team in proxy.ask("/team/list").content
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
        for model in proxy.ask("/model/info").content["data"]
        if model["model_info"].get("db_model")
    ]
    say(json.dumps({"teams": teams, "keys": keys, "users": users, "models": models}))


def _pages(proxy: Proxy, path: str, what: str) -> Iterator[dict[str, Any]]:
    """Entries of all pages of a list."""
    page = pages = 1
    while page <= pages:
        answer = proxy.ask(f"{path}&page={page}").content
        yield from answer[what]
        page, pages = page + 1, answer["total_pages"]


def apply(proxy: Proxy, steps: list[dict[str, Any]]) -> None:
    """Do the steps, [{"say": …, "path": …, "body": {…}}, …]; the first that is refused ends the program."""
    for step in steps:
        try:
            proxy.ask(step["path"], step["body"])
        except (RefusedError, OSError) as error:
            words = str(error)
            if key := step["body"].get("key"):
                words = words.replace(key, "<key>")
            sys.exit(
                f"found:    {step['say']}: {words}\nexpected: it done\nfix:      docker logs of its container"
            )
        say(step["say"])


# --- verify


class Trial:
    """Tries things one after the other and remembers what failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """One try: it says what went wrong, and the next one follows."""
        started = time.monotonic()
        try:
            yield
        except (RefusedError, OSError, AssertionError, KeyError, ValueError) as error:
            self.failed.append(what)
            say(f"FAIL  {what}: {error}")
        else:
            say(f"ok    {what} ({time.monotonic() - started:.1f} s)")


def verify(proxy: Proxy, asked: dict[str, Any]) -> None:
    """Try it all, and say of each whether it works.

    {"chat": [models], "embeddings": [models], "aliases": {alias: model}, "fallbacks": {model: [models]},
    "keys": {team: key}, "priced": a model whose answers cost something, or "", "traced": whether calls are traced in
    Langfuse}
    """
    trial = Trial()
    with trial.of("health"):
        proxy.ask("/health/liveliness")
        proxy.ask("/health/readiness")
    used: dict[str, str | None] = {}
    for models, call in ((asked["chat"], proxy.chat), (asked["embeddings"], proxy.embed)):
        _try_routes(trial, models, call, used)
    embedding = set(asked["embeddings"])
    for alias, model in asked["aliases"].items():
        with trial.of(f"alias {alias}"):
            call = proxy.embed if model in embedding else proxy.chat
            deployment = call(alias, disable_fallbacks=True).headers["x-litellm-model-id"]
            expect(deployment == used.get(model), f"not answered by {model}")
    for model, chain in asked["fallbacks"].items():
        with trial.of(f"fallback of {model}"):
            # LiteLLM's own way to fail a model for one request.
            headers = proxy.chat(model, mock_testing_fallbacks=True).headers
            expect(headers["x-litellm-model-group"] in chain, f"{headers['x-litellm-model-group']} answered")
    if asked["chat"]:
        with trial.of("cache"):
            _try_cache(proxy, asked["priced"] or asked["chat"][0])
    with trial.of("an unknown key is refused"):
        expect_refusal(lambda: proxy.ask("/v1/models", key=f"sk-{secrets.token_hex(16)}"), 401)
    for team, key in asked["keys"].items():
        with trial.of(f"key of {team}"):
            proxy.ask("/v1/models", key=key)
            # Addresses of models are for no project: what keeps them back is in front of LiteLLM.
            expect_refusal(partial(proxy.ask, "/model/info", key=key), 403)
    if asked["priced"]:
        with trial.of("spend is recorded, and a spent budget refuses its own team only"):
            _try_budget(proxy, asked["priced"])
    if asked["traced"]:
        with trial.of("a call is traced in Langfuse, without its words"):
            _try_trace(proxy, asked["chat"][0])
    if trial.failed:
        say(f"{len(trial.failed)} failed: {', '.join(trial.failed)}")


def _try_routes(
    trial: Trial, models: list[str], call: Callable[..., Answer], used: dict[str, str | None]
) -> None:
    """Each model by itself, no other one in its place; `used` gets the deployment that answered."""
    for model in models:
        with trial.of(f"route {model}"):
            used[model] = call(model, disable_fallbacks=True).headers["x-litellm-model-id"]


def _try_cache(proxy: Proxy, model: str) -> None:
    """An answer that was asked to be kept comes again, the same; one that was not does not."""
    question = f"Answer with one word: {secrets.token_hex(4)}."
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": question}]}
    cache = {"use-cache": True, "ttl": 60}
    first, second = (proxy.chat(model, cache=cache, **asked).content["id"] for _ in range(2))
    expect(first == second, "the second answer was not the kept one")
    expect(proxy.chat(model, **asked).content["id"] != first, "an answer came from the cache unasked")


def _try_budget(proxy: Proxy, model: str) -> None:
    """A team of our own, gone afterwards, spends more than it may."""
    team = f"verify-{secrets.token_hex(4)}"
    key = f"sk-{secrets.token_urlsafe(32)}"
    proxy.ask("/team/new", {"team_id": team, "team_alias": team, "max_budget": 1e-9, "budget_duration": "1d"})
    try:
        proxy.ask("/key/generate", {"key": key, "key_alias": team, "team_id": team})
        proxy.chat(model, key=key)
        deadline = time.monotonic() + SPEND_S
        while not proxy.ask(f"/team/info?team_id={team}").content["team_info"]["spend"]:
            expect(time.monotonic() < deadline, f"no spend recorded within {SPEND_S} s")
            time.sleep(1)
        expect_refusal(lambda: proxy.chat(model, key=key), 400, 429)
        proxy.chat(model)
    finally:
        proxy.ask("/team/delete", {"team_ids": [team]})


def _try_trace(proxy: Proxy, model: str) -> None:
    """A call with a trace of its own is there, and nothing of what was asked in it."""
    trace = f"verify-{secrets.token_hex(8)}"
    proxy.chat(model, metadata={"trace_id": trace})
    deadline = time.monotonic() + TRACE_S
    while True:
        try:
            found = _langfuse(f"/api/public/traces/{trace}")
            if found["observations"]:
                break
        except RefusedError as refusal:
            if refusal.status != 404:
                raise
        expect(time.monotonic() < deadline, f"no trace within {TRACE_S} s")
        time.sleep(1)
    expect(PROBE not in json.dumps(found), "the trace shows what was asked")


def _langfuse(path: str) -> Any:
    """What our Langfuse answers, asked with the keys that the proxy's own callback has."""
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
    except RefusedError as refusal:
        expect(refusal.status in statuses, f"refused with {refusal}")
    else:
        raise AssertionError("not refused")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - what this program is for


def main() -> None:
    port, seconds, action = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    told: Any = None if action == "read" else json.load(sys.stdin)
    proxy = Proxy(port)
    proxy.await_ready(seconds)
    if action == "read":
        read(proxy)
    elif action == "apply":
        apply(proxy, told)
    else:
        verify(proxy, told)


if __name__ == "__main__":
    main()

"""The layer before LiteLLM's routing: it asks `rules`, and hands on what was judged and nothing else.

Pure ASGI, so that answers stream through it untouched.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from guard import rules
from guard.rules import Caller, Declared, Kind, RefusedError, Route

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
# Team and models of a key that LiteLLM knows, or None.
Lookup = Callable[[str], Awaitable[tuple[str, frozenset[str]] | None]]

BODY_TIMEOUT_S = 60
IN_FLIGHT_LIMIT = 24 * 1024 * 1024  # bytes of bodies that one key may have with the gateway at once
QUERY_LIMIT = 4096

# Headers of answers that say where a model is.
_OURS = (b"x-litellm-model-api-base",)

log = logging.getLogger("uvicorn.guard")


class Guard:
    """An ASGI application around LiteLLM's.

    :param app: LiteLLM's
    :param declared: what the allow-lists take from the declarations
    :param master_key: LiteLLM's
    :param lookup: whose a key is
    :param words: parts of the paths of LiteLLM's routes, which may stand in a log
    """

    def __init__(
        self,
        app: App,
        declared: Declared,
        master_key: str,
        lookup: Lookup,
        words: frozenset[str] = frozenset(),
    ) -> None:
        if not master_key:
            raise ValueError("no master key")  # LiteLLM would take every caller for its administrator
        self.app = app
        self.declared = declared
        self.master_key = master_key.encode()
        self.lookup = lookup
        self.words = words
        self.in_flight: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # the server takes no WebSocket: none of our models speaks over one
            raise ValueError(f"not HTTP: {scope['type']}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        # Whatever is not known to be asked from inside is taken for the world.
        on_domain = (scope.get("server") or ("", 0))[1] != self.declared.port
        kind = Kind.NOBODY

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                if kind is not Kind.MASTER:
                    kept = [(name, value) for name, value in message["headers"] if name.lower() not in _OURS]
                    message = {**message, "headers": kept}
                self._log(scope, message["status"])
            await send(message)

        key = ""
        held = 0
        try:
            headers = [
                (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]
            ]
            key = rules.credential(headers)
            caller = await self._caller(key, open_=rules.open_route(on_domain, method, path) is not None)
            kind = caller.kind
            route = rules.route(self.declared, kind, on_domain, method, path)
            query = _query(scope, route, caller)
            kept = rules.headers_for(kind, headers, "" if kind is Kind.NOBODY else key)
            if route.limit is None:
                body = None
            else:
                held = await self._take(key, headers, route.limit)
                raw = await _read(receive, route.limit)
                body = rules.judge(route, self.declared, caller, raw) if route.body else raw
                del raw
                kept.append(("content-length", str(len(body))))
                if route.body:
                    kept.append(("content-type", "application/json"))
            inner = {
                **scope,
                "path": path,
                "raw_path": path.encode(),
                "root_path": "",
                "query_string": query,
                "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept],
            }
            await self.app(inner, receive if body is None else _replay(body, receive), answer)
        except RefusedError as refused:
            await _refuse(answer, refused)
        finally:
            self._give_back(key, held)

    async def _caller(self, key: str, open_: bool) -> Caller:
        """Whose a key is. LiteLLM itself looks afterwards whether the key is still good.

        :raises RefusedError: nobody's
        """
        if not key or open_:
            return Caller(Kind.NOBODY)
        if hmac.compare_digest(key.encode(), self.master_key):
            return Caller(Kind.MASTER)
        found = await self.lookup(key)
        if found is None:
            raise RefusedError(401, "not a key of this gateway")
        team, models = found
        return Caller(Kind.DASHBOARD if team == rules.DASHBOARD_TEAM else Kind.PROJECT, team, models)

    async def _take(self, key: str, headers: list[tuple[str, str]], limit: int) -> int:
        """Room for a body; how much of it was taken.

        :raises RefusedError: the body is too large, or the key has too much on its way already
        """
        said = next((value for name, value in headers if name == "content-length"), "")
        size = int(said) if said.isdigit() else limit
        if said and size > limit:
            raise RefusedError(413, f"the body has more than {limit} bytes")
        if self.in_flight[key] and self.in_flight[key] + size > IN_FLIGHT_LIMIT:
            raise RefusedError(429, "too many large requests of this key at once; try again")
        self.in_flight[key] += size
        return size

    def _give_back(self, key: str, size: int) -> None:
        self.in_flight[key] -= size
        if self.in_flight[key] <= 0:
            del self.in_flight[key]

    def _log(self, scope: Scope, status: int) -> None:
        """The line that uvicorn would write, without what a caller can put into an address."""
        client = (scope.get("client") or ("-",))[0]
        log.info("%s %s %d", client, rules.shown(scope["method"], scope["path"], self.words), status)


def _query(scope: Scope, route: Route, caller: Caller) -> bytes:
    raw = scope["query_string"]
    if len(raw) > QUERY_LIMIT:
        raise RefusedError(414, "the parameters of the URL are too long")
    pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True)
    rules.queries(route, caller, pairs)
    return urlencode(pairs).encode()


async def _read(receive: Receive, limit: int) -> bytes:
    """A whole body.

    :raises RefusedError: it is larger than `limit` or too slow, or the caller went away
    """
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await _parts(receive, limit)
    except TimeoutError:
        raise RefusedError(408, "the body did not come in time") from None


async def _parts(receive: Receive, limit: int) -> bytes:
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError(499, "the caller is gone")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise RefusedError(413, f"the body has more than {limit} bytes")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """`body` first, then whatever else the caller does."""
    bodies = [body]

    async def replay() -> Message:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        return await receive()

    return replay


async def _refuse(send: Send, refused: RefusedError) -> None:
    """A refusal in OpenAI's form."""
    error = {
        "message": refused.message,
        "type": "invalid_request_error",
        "param": refused.param or None,
        "code": str(refused.status),
    }
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status == 429:
        headers.append((b"retry-after", b"1"))
    if refused.status == 413:  # what is left of the body is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

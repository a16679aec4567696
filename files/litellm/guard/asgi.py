"""The layer before LiteLLM's routing: it applies `rules`, and forwards only what they have checked.

It is pure ASGI, so that answers stream through it unchanged.
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

# Headers of answers with the address of a model.
_INTERNAL_HEADERS = (b"x-litellm-model-api-base",)

log = logging.getLogger("uvicorn.guard")


class Guard:
    """An ASGI application around LiteLLM's.

    :param app: LiteLLM's
    :param declared: the declarations that the allow-lists use
    :param master_key: LiteLLM's
    :param lookup: finds team and models of a key
    :param words: parts of the paths of LiteLLM's routes, which may appear in a log
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
            raise ValueError("no master key")  # every caller would be LiteLLM's administrator
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
        else:  # the server accepts no WebSocket: none of our models uses one
            raise ValueError(f"not HTTP: {scope['type']}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        # A request that is not known to come from inside counts as one from outside.
        on_domain = (scope.get("server") or ("", 0))[1] != self.declared.port
        kind = Kind.NOBODY

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                if kind is not Kind.MASTER:
                    public = [
                        (name, value)
                        for name, value in message["headers"]
                        if name.lower() not in _INTERNAL_HEADERS
                    ]
                    message = {**message, "headers": public}
                self._log(scope, message["status"])
            await send(message)

        key = ""
        reserved = 0
        try:
            headers = [
                (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]
            ]
            key = rules.credential(headers)
            caller = await self._caller(key, open_=rules.open_route(on_domain, method, path) is not None)
            kind = caller.kind
            route = rules.route(self.declared, kind, on_domain, method, path)
            query = _query(scope, route, caller)
            forwarded = rules.headers_for(kind, headers, "" if kind is Kind.NOBODY else key)
            if route.limit is None:
                body = None
            else:
                reserved = await self._reserve(key, headers, route.limit)
                raw = await _read(receive, route.limit)
                body = rules.checked_body(route, self.declared, caller, raw) if route.body else raw
                del raw
                forwarded.append(("content-length", str(len(body))))
                if route.body:
                    forwarded.append(("content-type", "application/json"))
            inner = {
                **scope,
                "path": path,
                "raw_path": path.encode(),
                "root_path": "",
                "query_string": query,
                "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in forwarded],
            }
            await self.app(inner, receive if body is None else _replay(body, receive), answer)
        except RefusedError as refused:
            await _refuse(answer, refused)
        finally:
            self._release(key, reserved)

    async def _caller(self, key: str, open_: bool) -> Caller:
        """The owner of a key. LiteLLM itself checks afterwards whether the key is still valid.

        :raises RefusedError: LiteLLM does not know the key
        """
        if not key or open_:
            return Caller(Kind.NOBODY)
        if hmac.compare_digest(key.encode(), self.master_key):
            return Caller(Kind.MASTER)
        owner = await self.lookup(key)
        if owner is None:
            raise RefusedError(401, "not a key of this gateway")
        team, models = owner
        return Caller(Kind.DASHBOARD if team == rules.DASHBOARD_TEAM else Kind.PROJECT, team, models)

    async def _reserve(self, key: str, headers: list[tuple[str, str]], limit: int) -> int:
        """Reserve memory for a body, and return its size.

        :raises RefusedError: the body is too large, or the key has too many bytes in flight
        """
        length = next((value for name, value in headers if name == "content-length"), "")
        size = int(length) if length.isdigit() else limit
        if length and size > limit:
            raise RefusedError(413, f"the body has more than {limit} bytes")
        if self.in_flight[key] and self.in_flight[key] + size > IN_FLIGHT_LIMIT:
            raise RefusedError(429, "too many large requests of this key at once; try again")
        self.in_flight[key] += size
        return size

    def _release(self, key: str, size: int) -> None:
        self.in_flight[key] -= size
        if self.in_flight[key] <= 0:
            del self.in_flight[key]

    def _log(self, scope: Scope, status: int) -> None:
        """Log what uvicorn would, without text of the caller in the address."""
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
    """Read a complete body.

    :raises RefusedError: it is larger than `limit` or too slow, or the caller has disconnected
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
            raise RefusedError(499, "the caller has disconnected")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise RefusedError(413, f"the body has more than {limit} bytes")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receive `body` first, then the further messages of the caller."""
    bodies = [body]

    async def replay() -> Message:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        return await receive()

    return replay


async def _refuse(send: Send, refused: RefusedError) -> None:
    """Send a refusal in OpenAI's format."""
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
    if refused.status == 413:  # the rest of the body is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

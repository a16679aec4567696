"""Ollama's HTTP API, and the part of OpenAI's that it offers.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md and docs/openai.md
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from . import VERSION, answers
from .scheduler import BusyError, Loaded, Scheduler, runner_of
from .settings import FOREVER, Settings, log, parse_duration
from .store import Model, Name, NotFoundError, PullError, Store

Json = dict[str, Any]
HEADS = ("/", "/api/version", "/api/tags")  # which Ollama answers without a body, too
CENTURIES = timedelta(days=365 * 292)  # Go's longest duration, which `keep_alive: -1` becomes


def _json(value: object) -> bytes:
    """As Go writes it: scripts that match text rely on there being no spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


class ApiError(Exception):
    """An answer that is an error: status and text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Server(ThreadingHTTPServer):
    """One instance: its settings, its store, its memory."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, settings: Settings) -> None:
        self.address_family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self.settings = settings
        self.store = Store(settings.models)
        self.scheduler = Scheduler(settings)
        super().__init__((settings.host, settings.port), Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as in Go: on a kept connection it costs 40 ms an answer
    server: Server

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815 - the names http.server wants

    def _serve(self) -> None:
        self._status = 200
        started = time.monotonic()
        length = int(self.headers.get("Content-Length") or 0)
        self._body = self.rfile.read(length)
        delay("delay", self.server.settings.port)
        method = "GET" if self.command == "HEAD" else self.command
        path = self.path.partition("?")[0]
        try:
            methods = self.ROUTES.get(path)
            if methods is None and path.startswith("/v1/models/"):
                methods = {"GET": Handler._openai_model}
            if not allowed_host(self.server.settings.host, self.headers.get("Host", "")):
                self._send(403, "text/plain", b"")
            elif methods is None:
                self._send(404, "text/plain", b"404 page not found")
            elif method not in methods or (self.command == "HEAD" and path not in HEADS):
                self._send(405, "text/plain", b"405 method not allowed")
            else:
                methods[method](self)
        except (ApiError, NotFoundError, BusyError) as error:
            self._fail(error)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        took_ms = (time.monotonic() - started) * 1000
        log(
            "INFO",
            "request",
            status=self._status,
            ms=f"{took_ms:.1f}",
            client=self.headers.get("X-Forwarded-For") or self.client_address[0],
            method=self.command,
            path=path,
        )

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are logged once they are answered."""

    def _fail(self, error: Exception) -> None:
        status, message = 500, str(error)
        if isinstance(error, NotFoundError):
            status = 404
        elif isinstance(error, BusyError):
            status = 503
        elif isinstance(error, ApiError):
            status = error.status
        if self.path.startswith("/v1/"):
            kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
            self._json({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)
        else:
            self._json({"error": message}, status)

    # What goes in and out

    def _request(self) -> Json:
        if not self._body:
            raise ApiError(400, "missing request body")
        try:
            request = json.loads(self._body, object_pairs_hook=merged)
        except ValueError as error:
            raise ApiError(400, str(error)) from None
        if not isinstance(request, dict):
            raise ApiError(400, "json: cannot unmarshal value into Go value of type api.Request")
        # Go takes the name of a field in any case.
        return {key.casefold(): value for key, value in request.items()}

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self._status = status
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, answer: Json, status: int = 200) -> None:
        self._send(status, "application/json; charset=utf-8", _json(answer))

    def _stream(self, lines: Iterable[bytes], kind: str = "application/x-ndjson") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            delay("pace", self.server.settings.port)
        self.wfile.write(b"0\r\n\r\n")

    def _objects(self, objects: Iterable[Json]) -> None:
        self._stream(_json(each) + b"\n" for each in objects)

    # Ollama's routes

    def _root(self) -> None:
        self._send(200, "text/plain; charset=utf-8", b"Ollama is running")

    def _version(self) -> None:
        self._json({"version": VERSION})

    def _tags(self) -> None:
        self._json(
            {
                "models": [
                    {
                        "name": str(model.name),
                        "model": str(model.name),
                        "modified_at": model.modified.isoformat(),
                        "size": model.weights_bytes,
                        "digest": model.digest,
                        "details": model.details,
                    }
                    for model in self.server.store.models()
                ]
            }
        )

    def _ps(self) -> None:
        self._json({"models": [running(loaded) for loaded in self.server.scheduler.loaded()]})

    def _show(self) -> None:
        model = self._model(self._request())
        self._json(
            {
                "modelfile": f'# Modelfile generated by "ollama show"\nFROM {model.name}\n',
                "parameters": "",
                "template": model.template,
                "details": model.details,
                "model_info": {
                    key: value for key, value in model.facts.items() if not key.startswith("standin.")
                },
                "capabilities": model.capabilities,
                "modified_at": model.modified.isoformat(),
            }
        )

    def _pull(self) -> None:
        request = self._request()
        name = request.get("model") or request.get("name") or ""
        steps = self.server.store.pull(name, bool(request.get("insecure")))
        if request.get("stream", True):
            self._objects(until_error(steps))
            return
        try:
            for _ in steps:
                pass
        except PullError as error:
            raise ApiError(500, str(error)) from None
        self._json({"status": "success"})

    def _delete(self) -> None:
        model = self._model(self._request())
        self.server.scheduler.unload(model)
        self.server.store.delete(str(model.name))
        self._send(200, "text/plain; charset=utf-8", b"")

    def _copy(self) -> None:
        request = self._request()
        try:
            Name.parse(str(request.get("destination")))
        except ValueError:
            raise ApiError(400, f'destination "{request.get("destination")}" is invalid') from None
        self.server.store.copy(str(request.get("source")), str(request["destination"]))
        self._send(200, "text/plain; charset=utf-8", b"")

    def _generate(self) -> None:
        request = self._request()
        prompt = str(request.get("prompt") or "")

        def shape(piece: str, thought: str) -> Json:
            return {"response": piece, **({"thinking": thought} if thought else {})}

        self._answer(request, prompt, empty=not prompt, shape=shape)

    def _chat(self) -> None:
        request = self._request()
        messages = request.get("messages") or []

        def shape(piece: str, thought: str) -> Json:
            message = {"role": "assistant", "content": piece, **({"thinking": thought} if thought else {})}
            return {"message": message}

        self._answer(request, conversation(messages), empty=not messages, shape=shape)

    def _answer(self, request: Json, prompt: str, empty: bool, shape: Callable[[str, str], Json]) -> None:
        model = self._model(request)
        keep_alive = keep_alive_of(request)
        common = {"model": request["model"], "created_at": now()}
        if empty and keep_alive == 0:
            self.server.scheduler.unload(model)
            self._json({**common, **shape("", ""), "done": True, "done_reason": "unload"})
            return
        thinking = self._thinking(model, request)
        if request.get("tools") and "tools" not in model.capabilities:
            raise ApiError(400, f"{model.name} does not support tools")
        options = request.get("options") or {}
        started = time.monotonic_ns()
        with self.server.scheduler.use(model, keep_alive, options.get("num_ctx"), runner_of(request)):
            loaded_ns = time.monotonic_ns() - started
            if empty:
                self._json({**common, **shape("", ""), "done": True, "done_reason": "load"})
                return
            delay("work", self.server.settings.port)
            pieces = answers.words(str(model.name), prompt, request.get("format"))
            limit = int(options.get("num_predict", -1))
            reason = "length" if 0 <= limit < len(pieces) else "stop"
            pieces = pieces[:limit] if limit >= 0 else pieces
            thought = "The question is simulated." if thinking else ""
            end = {
                "done": True,
                "done_reason": reason,
                "total_duration": time.monotonic_ns() - started,
                "load_duration": loaded_ns,
                "prompt_eval_count": answers.tokens(prompt),
                "prompt_eval_duration": 1_000_000,
                "eval_count": len(pieces),
                "eval_duration": 1_000_000 * max(1, len(pieces)),
            }
            if not request.get("stream", True):
                self._json({**common, **shape("".join(pieces), thought), **end})
                return
            parts = [("", thought)] if thought else []
            parts += [(piece, "") for piece in pieces]
            lines: list[Json] = [{**common, **shape(*part), "done": False} for part in parts]
            self._objects([*lines, {**common, **shape("", ""), **end}])

    def _embed(self) -> None:
        request = self._request()
        model = self._model(request)
        content = request.get("input", "")
        texts = [content] if isinstance(content, str) else list(content)
        started = time.monotonic_ns()
        options = request.get("options") or {}
        runner = runner_of({"options": options})
        with self.server.scheduler.use(model, keep_alive_of(request), options.get("num_ctx"), runner):
            loaded_ns = time.monotonic_ns() - started
            vectors = [answers.embedding(text, model.fact("embedding_length")) for text in texts if text]
        self._json(
            {
                "model": request["model"],
                "embeddings": vectors,
                "total_duration": time.monotonic_ns() - started,
                "load_duration": loaded_ns,
                "prompt_eval_count": sum(answers.tokens(text) for text in texts),
            }
        )

    def _embeddings(self) -> None:
        request = self._request()
        model = self._model(request)
        options = request.get("options") or {}
        runner = runner_of({"options": options})
        with self.server.scheduler.use(model, keep_alive_of(request), options.get("num_ctx"), runner):
            text = str(request.get("prompt") or "")
            self._json({"embedding": answers.embedding(text, model.fact("embedding_length")) if text else []})

    def _model(self, request: Json) -> Model:
        name = request.get("model") or request.get("name")
        if not name:
            raise ApiError(400, "model is required")
        return self.server.store.get(str(name))

    @staticmethod
    def _thinking(model: Model, request: Json) -> bool:
        able = "thinking" in model.capabilities
        if request.get("think") and not able:
            raise ApiError(400, f'"{model.name}" does not support thinking')
        return able and bool(request.get("think", True))

    # OpenAI's routes

    def _openai_models(self) -> None:
        data = [openai_entry(model) for model in self.server.store.models()]
        self._json({"object": "list", "data": data})

    def _openai_model(self) -> None:
        name = urllib.parse.unquote(self.path.partition("?")[0].removeprefix("/v1/models/"))
        self._json(openai_entry(self.server.store.get(name)))

    def _openai_completions(self) -> None:
        request = self._request()
        model = self._model(request)
        with self.server.scheduler.use(model, None):
            text = "".join(answers.words(str(model.name), str(request.get("prompt") or "")))
        choice = {"text": text, "index": 0, "finish_reason": "stop"}
        self._json(
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "created": int(time.time()),
                "model": request["model"],
                "system_fingerprint": "fp_ollama",
                "choices": [choice],
            }
        )

    def _openai_embeddings(self) -> None:
        request = self._request()
        model = self._model(request)
        content = request.get("input", "")
        texts = [content] if isinstance(content, str) else list(content)
        with self.server.scheduler.use(model, None):
            length = model.fact("embedding_length")
            data = [
                {"object": "embedding", "index": index, "embedding": answers.embedding(text, length)}
                for index, text in enumerate(texts)
            ]
        self._json({"object": "list", "data": data, "model": request["model"]})

    def _openai_chat(self) -> None:
        request = self._request()
        if not request.get("messages"):
            raise ApiError(400, "[] is too short - 'messages'")
        model = self._model(request)
        prompt = conversation(request["messages"])
        form = (request.get("response_format") or {}).get("type")
        with self.server.scheduler.use(model, None):
            delay("work", self.server.settings.port)
            pieces = answers.words(str(model.name), prompt, "json" if form == "json_object" else None)
        common = {
            "id": "chatcmpl-1",
            "created": int(time.time()),
            "model": request["model"],
            "system_fingerprint": "fp_ollama",
        }
        asked = answers.tokens(prompt)
        usage = {
            "prompt_tokens": asked,
            "completion_tokens": len(pieces),
            "total_tokens": asked + len(pieces),
        }
        if not request.get("stream"):
            message = {"role": "assistant", "content": "".join(pieces)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._json({**common, "object": "chat.completion", "choices": [choice], "usage": usage})
            return

        def event(piece: str, finish: str | None) -> bytes:
            delta = {"role": "assistant", "content": piece}
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            chunk = {**common, "object": "chat.completion.chunk", "choices": [choice]}
            return b"data: " + _json(chunk) + b"\n\n"

        events = [*(event(piece, None) for piece in pieces), event("", "stop"), b"data: [DONE]\n\n"]
        self._stream(events, "text/event-stream")

    ROUTES: ClassVar[dict[str, dict[str, Callable[[Handler], None]]]] = {
        "/": {"GET": _root},
        "/api/version": {"GET": _version},
        "/api/tags": {"GET": _tags},
        "/api/ps": {"GET": _ps},
        "/api/show": {"POST": _show},
        "/api/pull": {"POST": _pull},
        "/api/delete": {"DELETE": _delete},
        "/api/generate": {"POST": _generate},
        "/api/chat": {"POST": _chat},
        "/api/embed": {"POST": _embed},
        "/api/embeddings": {"POST": _embeddings},
        "/api/copy": {"POST": _copy},
        "/v1/models": {"GET": _openai_models},
        "/v1/chat/completions": {"POST": _openai_chat},
        "/v1/completions": {"POST": _openai_completions},
        "/v1/embeddings": {"POST": _openai_embeddings},
    }


def allowed_host(address: str, host: str) -> bool:
    """Whether a request is answered: on the loopback, only under local names and private addresses."""
    if address != "localhost" and not ipaddress.ip_address(address).is_loopback:
        return True
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_private  # loopback and 0.0.0.0, too
    except ValueError:
        local = ("", "localhost", socket.gethostname().lower())
        return name in local or name.endswith((".localhost", ".local", ".internal"))


def merged(pairs: list[tuple[str, Any]]) -> Json:
    """An object as Go reads it: of two members of one name the last, but objects are merged."""
    result: Json = {}
    for key, value in pairs:
        before = result.get(key)
        result[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def openai_entry(model: Model) -> Json:
    """A model in OpenAI's list."""
    return {
        "id": str(model.name),
        "object": "model",
        "created": int(model.modified.timestamp()),
        "owned_by": model.name.namespace,
    }


def running(loaded: Loaded) -> Json:
    """One entry of /api/ps."""
    endless = FOREVER in (loaded.expires, loaded.keep_alive)
    current = datetime.now(UTC)
    until = current + CENTURIES if endless else datetime.fromtimestamp(loaded.expires, UTC)
    return {
        "name": str(loaded.model.name),
        "model": str(loaded.model.name),
        "size": loaded.size,
        "digest": loaded.model.digest,
        "details": loaded.model.details,
        "expires_at": until.isoformat(),
        "size_vram": loaded.size_vram,
        "context_length": loaded.context,
    }


def until_error(steps: Iterable[Json]) -> Iterator[Json]:
    """The steps of a pull; an error is the last one, for the stream has begun with 200."""
    try:
        yield from steps
    except PullError as error:
        yield {"error": str(error)}


def keep_alive_of(request: Json) -> float | None:
    """Seconds to keep the model after this request; None if it does not say."""
    value = request.get("keep_alive")
    if value is None:
        return None
    seconds = parse_duration(value)
    if seconds is None:
        raise ApiError(400, f'time: invalid duration "{value}"')
    return seconds


def conversation(messages: list[Json]) -> str:
    """The last thing said; parts of a message that are no text are left out."""
    content = messages[-1].get("content") or "" if messages else ""
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return str(content)


def now() -> str:
    """The time as Ollama writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def delay(what: str, port: int) -> None:
    """Wait as long as a test wants: the seconds in the file `ollama-WHAT`, for one instance in `ollama-WHAT-PORT`.

    They lie beside the simulated cards. `delay` is before every answer (a long one is an instance that is silent),
    `work` is what each generation takes while it holds its slot, `pace` is after each piece of a streamed answer.
    Removing the file ends the wait.
    """
    folder = Path(os.environ.get("GPU_SIM_STATE", "/var/lib/gpu-sim"))
    started = time.monotonic()
    while True:
        seconds = 0.0
        for name in (f"ollama-{what}", f"ollama-{what}-{port}"):
            try:
                seconds = max(seconds, float((folder / name).read_text()))
            except (OSError, ValueError):
                continue
        left = seconds - (time.monotonic() - started)
        if left <= 0:
            return
        time.sleep(min(left, 0.1))

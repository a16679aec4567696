"""Stand-ins for the APIs of Groq, OpenAI, Gemini and Telegram, answering as each is documented.

Runs inside the upstream on the standard library alone, on a Unix socket behind nginx; which API is meant is read from
the Host header. Answers are made up, refusals are real: keys, models, and what a request lacks are checked.

Sources: https://platform.openai.com/docs/api-reference, https://console.groq.com/docs/api-reference,
https://ai.google.dev/api, https://core.telegram.org/bots/api
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import socketserver
import struct
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]

CHAT_MODELS = {
    "api.groq.com": (
        "llama-3.1-8b-instant",
        "llama-3.3-70b-versatile",
        "qwen/qwen3-32b",
        "meta-llama/llama-4-scout-17b-16e-instruct",
        "openai/gpt-oss-20b",
        "openai/gpt-oss-120b",
    ),
    "api.openai.com": ("gpt-4o", "gpt-4o-mini"),
    "generativelanguage.googleapis.com": ("gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-pro"),
}
RETIRED_MODELS = ("llama-3.1-70b-versatile",)  # Groq: decommissioned in January 2025
TRANSCRIPTION_MODELS = {
    "api.groq.com": ("whisper-large-v3", "whisper-large-v3-turbo"),
    "api.openai.com": ("whisper-1",),
}
EMBEDDING_MODELS = {"api.openai.com": {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072}}
OWNERS = {"api.groq.com": "Groq", "api.openai.com": "system"}
TELEGRAM_TEXT_LIMIT = 4096


@dataclass(frozen=True)
class Request:
    """What a client sent. `headers` have lower-case names."""

    host: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Json:
        """:raises RefusedError: for anything but a JSON object"""
        with suppress(ValueError):
            content = json.loads(self.body)
            if isinstance(content, dict):
                return content
        raise RefusedError(400, "We could not parse the JSON body of your request.", code="invalid_json")

    def form(self) -> dict[str, bytes]:
        """The fields of a multipart or URL-encoded form."""
        kind = self.headers.get("content-type", "")
        if kind.startswith("multipart/form-data"):
            message = BytesParser(EmailMessage, policy=HTTP).parsebytes(
                b"Content-Type: " + kind.encode() + b"\r\n\r\n" + self.body
            )
            return {
                str(part.get_param("name", header="content-disposition")): _payload(part)
                for part in message.iter_parts()
            }
        return {name: values[-1].encode() for name, values in parse_qs(self.body.decode()).items()}


def _payload(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


@dataclass(frozen=True)
class Response:
    """What is sent back: JSON, or events (SSE). `model` goes into the request log."""

    status: int = 200
    content: Json = field(default_factory=dict)
    events: tuple[str, ...] = ()
    model: str = ""


class RefusedError(Exception):
    """A request is not served. Each API words the same refusal in its own shape."""

    def __init__(self, status: int, message: str, *, code: str | None = None, model: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.model = status, message, code, model


@dataclass(frozen=True)
class Fault:
    """How a test makes a host misbehave: answer `status`, wait `delay` seconds first, or miss some models."""

    status: int = 0
    delay: float = 0
    missing_models: tuple[str, ...] = ()


class Apis:
    """All simulated APIs of one lab, on the state folder that the lab shares with its tests."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.keys: Json = json.loads((state / "keys.json").read_text())

    def answer(self, request: Request) -> Response:
        """Serve one request."""
        fault = self.fault(request.host)
        time.sleep(fault.delay)
        shape = _telegram_error if request.host == "api.telegram.org" else _error
        try:
            if fault.status:
                raise RefusedError(fault.status, "The server had an error while processing your request.")
            if request.host == "api.telegram.org":
                return self._telegram(request)
            if request.host == "generativelanguage.googleapis.com" and "/openai/" not in request.path:
                shape = _gemini_error
                return self._gemini(request, fault)
            return self._openai(request, fault)
        except RefusedError as refusal:
            return Response(refusal.status, shape(request.host, refusal), model=refusal.model)

    def fault(self, host: str) -> Fault:
        """What `control.json` says about a host; read anew each time, so that a test can change it at any moment."""
        with suppress(FileNotFoundError):
            faults: Json = json.loads((self.state / "control.json").read_text())
            fault = faults.get(host, {})
            return Fault(
                fault.get("status", 0), fault.get("delay", 0), tuple(fault.get("missing_models", ()))
            )
        return Fault()

    # --- OpenAI's API, which Groq and Gemini speak too ---------------------------------------------------------------

    def _openai(self, request: Request, fault: Fault) -> Response:
        host = request.host
        prefix = {"api.groq.com": "/openai/v1", "api.openai.com": "/v1"}.get(host, "/v1beta/openai")
        if not request.path.startswith(f"{prefix}/"):
            raise RefusedError(
                404, f"Unknown request URL: {request.method} {request.path}.", code="unknown_url"
            )
        self._authorize(request)
        endpoint = request.path.removeprefix(prefix)
        match request.method, endpoint.split("/")[1:]:
            case "GET", ["models"]:
                return Response(
                    content={"object": "list", "data": [_model(host, m) for m in _models(host, fault)]}
                )
            case "GET", ["models", *name]:
                model = unquote("/".join(name))
                _require_model(host, model, _models(host, fault))
                return Response(content=_model(host, model))
            case "POST", ["chat", "completions"]:
                return _chat(host, request.json(), _available(CHAT_MODELS.get(host, ()), fault))
            case "POST", ["embeddings"]:
                return _embeddings(host, request.json(), _available(EMBEDDING_MODELS.get(host, {}), fault))
            case "POST", ["audio", "transcriptions"]:
                models = _available(TRANSCRIPTION_MODELS.get(host, ()), fault)
                return _transcription(host, request.form(), models)
        raise RefusedError(404, f"Unknown request URL: {request.method} {request.path}.", code="unknown_url")

    def _authorize(self, request: Request) -> None:
        provider = {"api.groq.com": "groq", "api.openai.com": "openai"}.get(request.host, "gemini")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and key == self.keys[provider]:
            return
        if provider == "groq":
            raise RefusedError(401, "Invalid API Key", code="invalid_api_key")
        if not key:
            raise RefusedError(401, "You didn't provide an API key.")
        raise RefusedError(
            401, f"Incorrect API key provided: {key[:3]}****{key[-4:]}.", code="invalid_api_key"
        )

    # --- Gemini's own API --------------------------------------------------------------------------------------------

    def _gemini(self, request: Request, fault: Fault) -> Response:
        key = request.headers.get("x-goog-api-key") or request.query.get("key")
        if not key:
            raise RefusedError(
                403, "Method doesn't allow unregistered callers (callers without established identity)."
            )
        if key != self.keys["gemini"]:
            raise RefusedError(400, "API key not valid. Please pass a valid API key.")
        models = _available(CHAT_MODELS[request.host], fault)
        if request.method == "GET" and request.path in ("/v1beta/models", "/v1/models"):
            return Response(content={"models": [{"name": f"models/{name}"} for name in models]})
        asked = re.fullmatch(
            r"/v1(?:beta)?/models/([^:/]+):(generateContent|streamGenerateContent)", request.path
        )
        if request.method != "POST" or asked is None:
            raise RefusedError(404, "Requested entity was not found.")
        model, action = asked.groups()
        if model not in models:
            message = f"models/{model} is not found for API version v1beta, or is not supported for {action}."
            raise RefusedError(404, message, model=model)
        contents = request.json().get("contents")
        if not contents:
            raise RefusedError(
                400, "* GenerateContentRequest.contents: contents is not specified", model=model
            )
        question = " ".join(part.get("text", "") for turn in contents for part in turn.get("parts", ()))
        text = _reply(model, question)
        usage = _usage(question, text)
        answer = {
            "candidates": [
                {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}
            ],
            "usageMetadata": {
                "promptTokenCount": usage["prompt_tokens"],
                "candidatesTokenCount": usage["completion_tokens"],
                "totalTokenCount": usage["total_tokens"],
            },
            "modelVersion": model,
        }
        if action == "streamGenerateContent":
            return Response(events=(json.dumps(answer),), model=model)
        return Response(content=answer, model=model)

    # --- Telegram ----------------------------------------------------------------------------------------------------

    def _telegram(self, request: Request) -> Response:
        bot, _, method = request.path.removeprefix("/bot").partition("/")
        if not request.path.startswith("/bot") or not method:
            raise RefusedError(404, "Not Found")
        if unquote(bot) != self.keys["telegram"]:
            raise RefusedError(401, "Unauthorized")
        bot_id = int(self.keys["telegram"].partition(":")[0])
        me = {"id": bot_id, "is_bot": True, "first_name": "SourceFast lab", "username": "sourcefast_lab_bot"}
        if method.lower() == "getme":
            return Response(content={"ok": True, "result": me})
        if method.lower() != "sendmessage":
            raise RefusedError(404, "Not Found")
        body = dict(request.query)
        if request.headers.get("content-type", "").startswith("application/json"):
            body |= request.json()
        else:
            body |= {name: value.decode() for name, value in request.form().items()}
        text, chat = str(body.get("text", "")), str(body.get("chat_id", ""))
        if not chat:
            raise RefusedError(400, "Bad Request: chat_id is empty")
        if chat != str(self.keys["telegram_chat"]):
            raise RefusedError(400, "Bad Request: chat not found")
        if not text.strip():
            raise RefusedError(400, "Bad Request: message text is empty")
        if len(text) > TELEGRAM_TEXT_LIMIT:
            raise RefusedError(400, "Bad Request: message is too long")
        sent = {
            "date": int(time.time()),
            "chat_id": chat,
            "text": text,
            "parse_mode": body.get("parse_mode"),
        }
        with (self.state / "telegram.jsonl").open("a") as log:
            log.write(json.dumps(sent) + "\n")
        message = {
            "message_id": time.monotonic_ns() // 1_000_000,
            "from": me,
            "chat": {"id": int(chat), "type": "private"},
            "date": sent["date"],
            "text": text,
        }
        return Response(content={"ok": True, "result": message})


# --- answers ---------------------------------------------------------------------------------------------------------


def _chat(host: str, body: Json, models: list[str]) -> Response:
    model = str(body.get("model", ""))
    _require_model(host, model, models)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RefusedError(
            400, "Missing required parameter: 'messages'.", code="missing_required_parameter", model=model
        )
    question = " ".join(_text(message.get("content")) for message in messages)
    as_json = body.get("response_format", {}).get("type") in ("json_object", "json_schema")
    text = json.dumps({"answer": _reply(model, question)}) if as_json else _reply(model, question)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    words = text.split(" ")
    cut = limit is not None and limit < len(words)
    words = words[:limit] if cut else words
    usage = _usage(question, " ".join(words))
    common: Json = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": "fp_lab",
        "service_tier": "on_demand" if host == "api.groq.com" else "default",  # LiteLLM insists on it
    }
    finish = "length" if cut else "stop"
    if not body.get("stream"):
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": " ".join(words)},
            "logprobs": None,
            "finish_reason": finish,
        }
        return Response(
            content={**common, "object": "chat.completion", "choices": [choice], "usage": usage}, model=model
        )

    def chunk(delta: Json, reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**common, "object": "chat.completion.chunk", "choices": [choice]}

    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"content": word if first else f" {word}"}) for first, word in _first(words)]
    chunks.append(chunk({}, finish))
    if host == "api.groq.com":
        chunks[-1]["x_groq"] = {"id": common["id"], "usage": usage}
    if body.get("stream_options", {}).get("include_usage"):
        chunks.append({**common, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return Response(events=(*map(json.dumps, chunks), "[DONE]"), model=model)


def _embeddings(host: str, body: Json, models: list[str]) -> Response:
    model = str(body.get("model", ""))
    _require_model(host, model, models)
    texts = body.get("input")
    if not texts:
        raise RefusedError(400, "'$.input' is invalid.", model=model)
    # One text, many, one list of tokens, or many.
    single = isinstance(texts, str) or isinstance(texts[0], int)
    inputs = [texts] if single else list(texts)
    dimensions = int(body.get("dimensions") or EMBEDDING_MODELS[host][model])
    vectors = [_vector(str(one), dimensions) for one in inputs]
    if body.get("encoding_format") == "base64":
        values: list[Any] = [base64.b64encode(struct.pack(f"<{dimensions}f", *v)).decode() for v in vectors]
    else:
        values = list(vectors)
    tokens = sum(_tokens(one) if isinstance(one, str) else len(one) for one in inputs)
    content = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(values)],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return Response(content=content, model=model)


def _transcription(host: str, form: Mapping[str, bytes], models: list[str]) -> Response:
    model = form.get("model", b"").decode()
    _require_model(host, model, models)
    if not form.get("file"):
        raise RefusedError(
            400, "Missing required parameter: 'file'.", code="missing_required_parameter", model=model
        )
    text = f"Lab transcription of {len(form['file'])} bytes by {model}."
    if form.get("response_format") == b"verbose_json":
        segment = {"id": 0, "start": 0.0, "end": 1.0, "text": text}
        language = form.get("language", b"en").decode()
        content: Json = {"task": "transcribe", "language": language, "duration": 1.0, "text": text}
        return Response(content={**content, "segments": [segment]}, model=model)
    return Response(content={"text": text}, model=model)


def _reply(model: str, question: str) -> str:
    return f"This is {model} of the lab. You asked: {question.strip()[:200]}"


def _text(content: object) -> str:
    """The text of a message, whose content is a string or a list of parts (images have none)."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return str(content or "")


def _first(words: list[str]) -> Iterable[tuple[bool, str]]:
    return ((position == 0, word) for position, word in enumerate(words))


def _tokens(text: str) -> int:
    """About what tokenizers make of a text: four characters a token."""
    return math.ceil(len(text) / 4)


def _usage(question: str, text: str) -> Json:
    prompt, completion = _tokens(question), _tokens(text)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _vector(text: str, dimensions: int) -> list[float]:
    """A unit vector that depends on the text alone."""
    stream = hashlib.shake_256(text.encode()).digest(2 * dimensions)
    raw = [value / 32768 - 1 for value in struct.unpack(f"<{dimensions}H", stream)]
    length = math.sqrt(sum(value * value for value in raw))
    return [value / length for value in raw]


def _available(models: Iterable[str], fault: Fault) -> list[str]:
    return [model for model in models if model not in fault.missing_models]


def _models(host: str, fault: Fault) -> list[str]:
    known = (CHAT_MODELS, TRANSCRIPTION_MODELS, EMBEDDING_MODELS)
    return _available((model for table in known for model in table.get(host, ())), fault)


def _model(host: str, name: str) -> Json:
    return {"id": name, "object": "model", "created": 1700000000, "owned_by": OWNERS.get(host, "google")}


def _require_model(host: str, model: str, models: list[str]) -> None:
    if not model:
        raise RefusedError(400, "you must provide a model parameter")
    if host == "api.groq.com" and model in RETIRED_MODELS:
        message = f"The model `{model}` has been decommissioned and is no longer supported."
        raise RefusedError(400, message, code="model_decommissioned", model=model)
    if model not in models:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise RefusedError(404, message, code="model_not_found", model=model)


# --- refusals --------------------------------------------------------------------------------------------------------


def _error(host: str, refusal: RefusedError) -> Json:
    kind = "invalid_request_error" if refusal.status < 500 else "server_error"
    error: Json = {"message": refusal.message, "type": kind, "code": refusal.code}
    if host == "api.openai.com":
        error["param"] = None
    return {"error": error}


def _gemini_error(_: str, refusal: RefusedError) -> Json:
    names = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
    status = names.get(refusal.status, "UNAVAILABLE")
    return {"error": {"code": refusal.status, "message": refusal.message, "status": status}}


def _telegram_error(_: str, refusal: RefusedError) -> Json:
    return {"ok": False, "error_code": refusal.status, "description": refusal.message}


# --- HTTP ------------------------------------------------------------------------------------------------------------


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """One thread a connection, on a Unix socket."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, socket: Path, apis: Apis) -> None:
        socket.unlink(missing_ok=True)
        super().__init__(str(socket), Handler)
        self.apis = apis


class Handler(BaseHTTPRequestHandler):
    """Between HTTP and `Apis.answer`."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def address_string(self) -> str:
        return "unix"  # a Unix socket's peer has no address

    def log_message(self, *_: object) -> None:
        """Nothing: nginx keeps the request log."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            host=self.headers.get("Host", "").partition(":")[0],
            method=self.command,
            path=parts.path,
            query={name: values[-1] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
        )
        response = self.server.apis.answer(request)
        self.send_response(response.status)
        self.send_header("Lab-Model", response.model)
        if response.events:
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")  # the end of the stream
            self.end_headers()
            for event in response.events:
                self.wfile.write(f"data: {event}\n\n".encode())
                self.wfile.flush()
            self.close_connection = True
            return
        content = json.dumps(response.content).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument(
        "--state", type=Path, required=True, help="folder of keys.json, control.json, telegram.jsonl"
    )
    arguments = parser.parse_args()
    Server(arguments.socket, Apis(arguments.state)).serve_forever()


if __name__ == "__main__":
    main()

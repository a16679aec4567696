"""HTTP with JSON, for the web container and the worker."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Answer:
    """A status with JSON, or with a page (`str`)."""

    status: int
    content: object
    headers: dict[str, str] = field(default_factory=dict)


class JsonHandler(BaseHTTPRequestHandler, ABC):
    """One connection; whoever inherits it answers."""

    protocol_version = "HTTP/1.1"

    @abstractmethod
    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        """Serve one request."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_HEAD = do_GET  # noqa: N815 - the names http.server wants

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the real ones log no requests."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        method = "GET" if self.command == "HEAD" else self.command
        answer = self.answer(method, address.path, query, body)
        page = isinstance(answer.content, str)
        content = answer.content.encode() if isinstance(answer.content, str) else _json(answer.content)
        self.send_response(answer.status)
        self.send_header("Content-Type", "text/html; charset=utf-8" if page else "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def say(text: str) -> None:
    """A line of the log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()

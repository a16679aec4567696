"""The entry points: one request a connection, passed on as it comes, so that streams and websockets work."""

from __future__ import annotations

import selectors
import socket
import socketserver
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from .acme import CHALLENGE
from .routing import Route, Table

HEAD_LIMIT = 65536
TIMEOUT_S = 300


@dataclass(frozen=True)
class Request:
    """The head of a request; `rest` is what came behind it."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    rest: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def host(self) -> str:
        return self.header("host").partition(":")[0].lower()


class EntryPoint(socketserver.ThreadingTCPServer):
    """One port.

    :param table: asked anew for every request
    :param redirect: scheme and port that everybody here is sent to
    :param tls: decides on the certificate; a plain client on a port with routes of both kinds is served as such
    :param challenge: what Let's Encrypt is to find at a path; None where it does not ask
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        name: str,
        port: int,
        table: Callable[[], Table],
        tls: ssl.SSLContext,
        ping: bool,
        redirect: bool,
        challenge: Callable[[str], str] | None = None,
    ) -> None:
        self.name, self.table, self.tls, self.ping, self.redirect = name, table, tls, ping, redirect
        self.challenge = challenge
        super().__init__(("0.0.0.0", port), Connection)  # noqa: S104 - inside its container


class Connection(socketserver.BaseRequestHandler):
    """One client, one request."""

    server: EntryPoint

    def handle(self) -> None:
        client: socket.socket = self.request
        with suppress(OSError):
            client.settimeout(TIMEOUT_S)
            tls = client.recv(1, socket.MSG_PEEK) == b"\x16"
            if tls:
                client = self.server.tls.wrap_socket(client, server_side=True)
            try:
                self._serve(client, tls)
            finally:
                with suppress(OSError):
                    client.close()

    def _serve(self, client: socket.socket, tls: bool) -> None:
        request = read_head(client)
        if request is None:
            return
        path = request.target.partition("?")[0]
        route = self.server.table().find(self.server.name, tls, request.host, path)
        scheme = "https" if self.server.redirect else route.redirect if route else ""
        if self.server.challenge is not None and path.startswith(CHALLENGE):
            answer = self.server.challenge(path)
            reply(client, 200 if answer else 404, answer or "404 page not found\n")
        elif self.server.ping and path == "/ping":
            reply(client, 200, "OK")
        elif scheme and scheme != ("https" if tls else "http"):
            permanent = self.server.redirect or (route is not None and route.permanent)
            status, reason = redirection(request.method, permanent)
            reply(client, status, reason, f"{scheme}://{request.host}{request.target}")
        elif route is None:
            reply(client, 404, "404 page not found\n")
        else:
            try:
                backend = socket.create_connection(route.address, timeout=10)
            except OSError:
                reply(client, 502, "Bad Gateway")
                return
            with backend:
                backend.settimeout(TIMEOUT_S)
                backend.sendall(forwarded(request, route, tls, str(self.client_address[0])))
                splice(client, backend)


def read_head(client: socket.socket) -> Request | None:
    """The head of the request; None for somebody who sends none."""
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > HEAD_LIMIT:
            reply(client, 431, "Request Header Fields Too Large")
            return None
        chunk = client.recv(16384)
        if not chunk:
            return None
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, _version = first.split(" ")
        headers = tuple(
            (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
        )
    except ValueError:
        reply(client, 400, "Bad Request")
        return None
    return Request(method, target, headers, rest)


def forwarded(request: Request, route: Route, tls: bool, client: str) -> bytes:
    """The request as the container gets it."""
    upgrade = "upgrade" in request.header("connection").lower()
    target = request.target
    for prefix in route.strip:
        if prefix and target.startswith(prefix):
            target = f"/{target.removeprefix(prefix).lstrip('/')}"
    replaced = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
    if not upgrade:
        replaced |= {"connection", "keep-alive"}
    headers = [(name, value) for name, value in request.headers if name.lower() not in replaced]
    headers += [
        ("X-Forwarded-For", client),
        ("X-Forwarded-Host", request.header("host")),
        ("X-Forwarded-Proto", "https" if tls else "http"),
        ("X-Real-Ip", client),
    ]
    if not upgrade:
        headers.append(("Connection", "close"))
    lines = [f"{request.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1") + request.rest


def splice(client: socket.socket, backend: socket.socket) -> None:
    """Pass bytes both ways until the container is done, or the client has gone."""
    with selectors.DefaultSelector() as ready:
        ready.register(client, selectors.EVENT_READ, backend)
        ready.register(backend, selectors.EVENT_READ, client)
        while True:
            events = ready.select(TIMEOUT_S)
            if not events:
                return
            for key, _ in events:
                source, target = key.fileobj, key.data
                data = source.recv(65536)  # type: ignore[union-attr]
                while isinstance(source, ssl.SSLSocket) and source.pending():
                    data += source.recv(source.pending())
                if data:
                    target.sendall(data)
                elif source is backend:
                    return
                else:  # the client has said all it wants to; the answer may still come
                    ready.unregister(client)
                    with suppress(OSError):
                        backend.shutdown(socket.SHUT_WR)


def redirection(method: str, permanent: bool) -> tuple[int, str]:
    """Status and reason that send a client elsewhere; whoever sends something must send it again."""
    if method in ("GET", "HEAD"):
        return (301, "Moved Permanently") if permanent else (302, "Found")
    return (308, "Permanent Redirect") if permanent else (307, "Temporary Redirect")


def reply(client: socket.socket, status: int, text: str, location: str = "") -> None:
    """The proxy's own answer."""
    body = text.encode()
    head = [
        f"HTTP/1.1 {status} {text.strip() or 'OK'}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *([f"Location: {location}"] if location else []),
    ]
    client.sendall("\r\n".join([*head, "", ""]).encode() + body)

"""A stand-in for Crawl4AI's API server (0.9): its health, token, crawling of plain pages and refusals; no browser.

Standard library only. A page is fetched as it is and turned into text: no JavaScript, no screenshots, no extraction by
models, no job queue, no playground, no MCP.
Sources: https://docs.crawl4ai.com/core/self-hosting/, deploy/docker/MIGRATION.md of the project
"""

from __future__ import annotations

import hmac
import html
import html.parser
import ipaddress
import json
import os
import re
import resource
import secrets
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urljoin, urlsplit

VERSION = "0.9.0"
PORT = 11235
SHARED_MEMORY = 1 << 30  # bytes that Chromium wants in /dev/shm
MAX_URLS = 100
MAX_PAGE = 10 << 20
HIDDEN = frozenset({"script", "style", "noscript", "template", "head"})
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
# Where a crawler must not be sent. The addresses of documentation and benchmarks are not among them: labs use them.
INTERNAL = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "224.0.0.0/3", "::/127", "fc00::/8", "fe80::/10", "ff00::/8"),
    )
]


class RefusedError(Exception):
    """A request is not served."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Text(html.parser.HTMLParser):
    """What is to be read on a page, and where it leads."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address, self.title = address, ""
        self.links: list[dict[str, str]] = []
        self._parts: list[str] = []
        self._open: list[str] = []

    @property
    def markdown(self) -> str:
        """The text; headings are marked."""
        return re.sub(r"\n\s*\n+", "\n\n", "".join(self._parts)).strip() + "\n"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        target = dict(attrs).get("href")
        if tag == "a" and target:
            self.links.append({"href": urljoin(self.address, target), "text": ""})
        if tag in ("p", "div", "br", "li", "tr", *HEADINGS):
            self._parts.append(f"\n{HEADINGS[tag]} " if tag in HEADINGS else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open and self._open.pop() != tag:
                pass
        if tag in ("p", *HEADINGS):
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if "title" in self._open:
            self.title += data
        if not HIDDEN & set(self._open):
            self._parts.append(re.sub(r"\s+", " ", data))
            if "a" in self._open and self.links:
                self.links[-1]["text"] += data.strip()


def checked(address: str) -> str:
    """The address, if a crawler may go there.

    :raises RefusedError: it is no web page, or an internal one
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RefusedError(400, "Invalid URL format. Must start with http://, https://")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or parts.scheme, type=socket.SOCK_STREAM)
    except OSError:
        return address  # the fetch says that there is no such host
    for entry in found:
        place = ipaddress.ip_address(entry[4][0])
        if any(place in network for network in INTERNAL if network.version == place.version):
            raise RefusedError(400, f"URL blocked: {parts.hostname} resolves to an internal address")
    return address


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        checked(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def crawl(address: str) -> dict[str, Any]:
    """One page, in the shape of a CrawlResult."""
    result: dict[str, Any] = {"url": address, "html": "", "success": False, "status_code": None}
    opener = urllib.request.build_opener(_Redirects)
    request = urllib.request.Request(address, headers={"User-Agent": f"crawl4ai/{VERSION} (stand-in)"})  # noqa: S310 - checked
    try:
        with opener.open(request, timeout=30) as answer:
            page = answer.read(MAX_PAGE).decode(answer.headers.get_content_charset() or "utf-8", "replace")
            result |= {"status_code": answer.status, "redirected_url": answer.url, "success": True}
            result["response_headers"] = {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        page = error.read(MAX_PAGE).decode("utf-8", "replace")
        result |= {"status_code": error.code, "success": True}
    except (OSError, ValueError) as error:
        return result | {"error_message": f"Failed on navigating: {error}"}
    text = Text(address)
    text.feed(page)
    host = urlsplit(address).hostname
    internal = [link for link in text.links if urlsplit(link["href"]).hostname == host]
    external = [link for link in text.links if link not in internal]
    return result | {
        "html": page,
        "cleaned_html": page,
        "markdown": {
            "raw_markdown": text.markdown,
            "markdown_with_citations": text.markdown,
            "references_markdown": "",
            "fit_markdown": text.markdown,
            "fit_html": page,
        },
        "links": {"internal": internal, "external": external},
        "media": {"images": [], "videos": [], "audios": []},
        "metadata": {"title": html.unescape(text.title).strip()},
        "error_message": "",
    }


class Server(ThreadingHTTPServer):
    """The API server; with a token it may be reached from elsewhere."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], token: str) -> None:
        self.token = token
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_HEAD = do_GET  # noqa: N815 - the names http.server wants

    def log_message(self, format: str, *arguments: object) -> None:
        """One line a request, as uvicorn writes it."""
        say(f'{self.client_address[0]} - "{self.requestline}" {arguments[1] if len(arguments) > 1 else ""}')

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, content = 200, self._answer(urlsplit(self.path).path, body)
        except RefusedError as refusal:
            status, content = refusal.status, {"detail": refusal.detail}
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(encoded)

    def _answer(self, path: str, body: bytes) -> Mapping[str, Any]:
        method = "GET" if self.command == "HEAD" else self.command
        if (method, path) == ("GET", "/health"):
            return {"status": "ok", "timestamp": time.time(), "version": VERSION}
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise RefusedError(401, "Invalid or missing token")
        if (method, path) == ("POST", "/crawl"):
            addresses = self._json(body).get("urls")
            if not isinstance(addresses, list) or not 1 <= len(addresses) <= MAX_URLS:
                raise RefusedError(422, f"urls: a list of 1 to {MAX_URLS}")
            started = time.monotonic()
            results = [crawl(checked(str(address))) for address in addresses]
            return {
                "success": True,
                "results": results,
                "server_processing_time_s": round(time.monotonic() - started, 3),
                "server_memory_delta_mb": 0.0,
                "server_peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        if (method, path) == ("POST", "/md"):
            request = self._json(body)
            found = crawl(checked(str(request.get("url", ""))))
            if not found["success"]:
                raise RefusedError(500, str(found["error_message"]))
            shown = found["markdown"]["raw_markdown"]
            return {
                "url": request["url"],
                "filter": request.get("f", "fit"),
                "query": request.get("q"),
                "cache": request.get("c", "0"),
                "markdown": shown,
                "success": True,
            }
        if path in ("/health", "/crawl", "/md"):
            raise RefusedError(405, "Method Not Allowed")
        raise RefusedError(404, "Not Found")

    @staticmethod
    def _json(body: bytes) -> dict[str, Any]:
        with suppress(ValueError):
            content = json.loads(body)
            if isinstance(content, dict):
                return content
        raise RefusedError(422, "Input should be a valid dictionary or object")


def say(text: str) -> None:
    """One line of the log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> int:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    token = os.environ.get("CRAWL4AI_API_TOKEN", "")
    host = "0.0.0.0" if token else "127.0.0.1"  # noqa: S104 - inside its container
    if not token:
        token = secrets.token_hex(32)
        say(f"CRAWL4AI_API_TOKEN is not set: serving 127.0.0.1 only, with the one-off token {token}")
    with suppress(OSError):
        shared = os.statvfs("/dev/shm")  # noqa: S108 - the size of it is what is asked
        size = shared.f_frsize * shared.f_blocks
        enough = (
            "enough" if size >= SHARED_MEMORY else "Chromium would crash on large pages: set shm_size to 1g"
        )
        say(f"Shared memory: {size >> 20} MiB, {enough}")
    port = int(os.environ.get("PORT", PORT))
    say(f"Crawl4AI {VERSION} (stand-in) on http://{host}:{port}")
    Server((host, port), token).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())

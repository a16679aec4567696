"""The stand-in for Crawl4AI: its token, where it listens, what it fetches and where it must not go."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from lab.images.crawl4ai import crawl4ai_server as crawl4ai

PAGE = """<html><head><title>Aides &amp; primes</title><script>var hidden = 1</script></head>
<body><h1>Rénover</h1><p>Une   phrase.</p><a href="/guide">Guide</a> <a href="https://ademe.fr/x">Ademe</a></body></html>"""
TOKEN = "a" * 32


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://192.168.1.1/")
            self.end_headers()
            return
        self.send_response(200 if self.path == "/" else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def api() -> Iterator[httpx.Client]:
    with crawl4ai.Server(("127.0.0.1", 0), TOKEN) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", headers=headers) as client:
            yield client
        server.shutdown()


def test_only_health_is_open(api: httpx.Client) -> None:
    assert api.get("/health", headers={"Authorization": ""}).json()["status"] == "ok"
    for path in ("/crawl", "/md", "/playground"):
        for authorization in ("", "Bearer wrong", f"Basic {TOKEN}"):
            assert api.post(path, headers={"Authorization": authorization}).status_code == 401
    assert api.get("/playground").status_code == 404
    assert api.get("/crawl").status_code == 405


def test_a_page_becomes_text_and_links(api: httpx.Client, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl4ai, "INTERNAL", [])
    answer = api.post("/crawl", json={"urls": [f"{site}/", f"{site}/gone"]}).json()
    page, gone = answer["results"]
    assert answer["success"] and page["success"] and page["status_code"] == 200
    assert page["metadata"]["title"] == "Aides & primes"
    text = page["markdown"]["raw_markdown"]
    assert "# Rénover" in text and "Une phrase." in text and "hidden" not in text
    assert page["links"]["internal"] == [{"href": f"{site}/guide", "text": "Guide"}]
    assert page["links"]["external"] == [{"href": "https://ademe.fr/x", "text": "Ademe"}]
    assert gone["status_code"] == 404
    assert "# Rénover" in api.post("/md", json={"url": f"{site}/"}).json()["markdown"]


# Fields of the answers in release 0.9.0 (deploy/docker/server.py and api.py), and of its models that its client needs.
CRAWL = {
    *("success", "results"),
    *("server_processing_time_s", "server_memory_delta_mb", "server_peak_memory_mb"),
}
RESULT = {"url", "html", "success", "cleaned_html", "media", "links", "metadata", "error_message", "markdown"}
MARKDOWN = {"raw_markdown", "markdown_with_citations", "references_markdown", "fit_markdown", "fit_html"}
MD = {"url", "filter", "query", "cache", "markdown", "success"}


def test_answers_have_the_fields_of_the_vendor_s(
    api: httpx.Client, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crawl4ai, "INTERNAL", [])
    answer = api.post("/crawl", json={"urls": [f"{site}/"]}).json()
    assert set(answer) == CRAWL
    [result] = answer["results"]
    assert set(result) >= RESULT and set(result["markdown"]) == MARKDOWN
    assert set(api.post("/md", json={"url": f"{site}/", "f": "raw"}).json()) == MD
    assert set(api.get("/health").json()) == {"status", "timestamp", "version"}


def test_it_does_not_go_inside(api: httpx.Client, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (f"{site}/", "http://169.254.169.254/latest", "http://[::1]/", "http://10.0.1.2:5432/"):
        refused = api.post("/crawl", json={"urls": [address]})
        assert refused.status_code == 400 and "internal" in refused.json()["detail"]
    inside = [network for network in crawl4ai.INTERNAL if str(network) != "127.0.0.0/8"]
    monkeypatch.setattr(crawl4ai, "INTERNAL", inside)
    assert api.post("/crawl", json={"urls": [f"{site}/away"]}).status_code == 400


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"urls": []}', '{"urls": "http://x"}'])
def test_nonsense_is_refused(api: httpx.Client, body: str) -> None:
    assert api.post("/crawl", content=body).status_code == 422


def test_a_page_that_cannot_be_had_is_no_success(api: httpx.Client) -> None:
    result = api.post("/crawl", json={"urls": ["http://nowhere.invalid/"]}).json()["results"][0]
    assert not result["success"] and "navigating" in result["error_message"]
    assert api.post("/crawl", json={"urls": ["file:///etc/passwd"]}).status_code == 400


@pytest.mark.parametrize("token", ["", TOKEN])
def test_without_a_token_it_listens_to_its_own_machine_only(token: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "PORT": str(port), "CRAWL4AI_API_TOKEN": token}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, crawl4ai.__file__], env=environment, stderr=output)
    try:
        deadline = time.monotonic() + 10
        while "(stand-in)" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.terminate()
    assert process.wait(10) == 0
    text = log.read_text()
    assert (f"http://127.0.0.1:{port}" in text) == (not token)
    assert ("one-off token" in text) == (not token)
    assert "Shared memory:" in text and (not token or token not in text)

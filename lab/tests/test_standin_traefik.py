"""The stand-in for Traefik: options, labels, and requests through a running entry point."""

from __future__ import annotations

import http.client
import json
import os
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from blueprint.proxy import labels, routes_yaml
from lab.images.traefik.standin import docker
from lab.images.traefik.standin.acme import CHALLENGE, Acme
from lab.images.traefik.standin.certificates import Certificates, Pair, self_signed
from lab.images.traefik.standin.files import Files
from lab.images.traefik.standin.options import OptionError, Options, parse
from lab.images.traefik.standin.proxy import EntryPoint, redirection
from lab.images.traefik.standin.routing import (
    Container,
    Provider,
    RouteError,
    Table,
    merged,
    rule,
    table,
)
from tests.unit.blueprint.test_service_model import service

COOLIFY = (  # the options of Coolify's own proxy
    "--ping=true",
    "--ping.entrypoint=http",
    "--api.dashboard=true",
    "--entrypoints.http.address=:80",
    "--entrypoints.https.address=:443",
    "--entryPoints.http.http2.maxConcurrentStreams=250",
    "--entrypoints.https.http3",
    "--providers.file.directory=/traefik/dynamic/",
    "--providers.docker.exposedbydefault=false",
    "--certificatesresolvers.letsencrypt.acme.httpchallenge=true",
    "--certificatesresolvers.letsencrypt.acme.httpchallenge.entrypoint=http",
    "--certificatesresolvers.letsencrypt.acme.storage=/traefik/acme.json",
    "--providers.docker=true",
)
LABELS = {
    "traefik.enable": "true",
    "traefik.docker.network": "coolify",
    "traefik.http.routers.lf.rule": "Host(`langfuse.augmenter.pro`)",
    "traefik.http.routers.lf.entryPoints": "https",
    "traefik.http.routers.lf.tls.certresolver": "letsencrypt",
    "traefik.http.routers.lf-plain.rule": "Host(`langfuse.augmenter.pro`)",
    "traefik.http.routers.lf-plain.entrypoints": "http",
    "traefik.http.routers.lf-plain.middlewares": "to-https@docker,zip",
    "traefik.http.middlewares.to-https.redirectscheme.scheme": "https",
    "traefik.http.middlewares.zip.compress": "true",
    "traefik.http.services.lf.loadbalancer.server.port": "3000",
}
OPTIONS = parse(COOLIFY)


def container(changes: dict[str, str] | None = None, ready: bool = True) -> Container:
    labels = {name: value for name, value in (LABELS | (changes or {})).items() if value}
    return Container("langfuse", labels, {"other": "10.9.0.2", "coolify": "10.0.1.2"}, ready)


def test_coolify_s_options() -> None:
    assert OPTIONS.entrypoints == {"http": 80, "https": 443}
    assert OPTIONS.docker and not OPTIONS.exposed_by_default
    assert (OPTIONS.ping, OPTIONS.resolvers) == ("http", {"letsencrypt": "/traefik/acme.json"})
    assert OPTIONS.challenge == "http"
    assert parse(["--ping"]).entrypoints == {"http": 80, "traefik": 8080}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--entrypoint.http.address=:80", "field not found"),
        ("--entrypoints.http.address=80x", "missing port"),
        ("--ping.entrypoint=nowhere", "is not defined"),
        ("--entrypoints.http.http.redirections.entrypoint.to=nowhere", "is not defined"),
        ("serve", "command not found"),
    ],
)
def test_other_options_are_refused(argument: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse([argument])


def test_labels_become_routes() -> None:
    found = table([container()], OPTIONS)
    assert found.errors == ()
    secure = found.find("https", True, "LANGFUSE.augmenter.pro", "/x")
    assert secure and secure.address == ("10.0.1.2", 3000) and secure.resolver == "letsencrypt"
    plain = found.find("http", False, "langfuse.augmenter.pro", "/")
    assert plain and plain.redirect == "https" and not plain.permanent
    assert found.find("https", False, "langfuse.augmenter.pro", "/") is None
    assert found.find("https", True, "elsewhere.pro", "/") is None


@pytest.mark.parametrize(
    "unserved",
    [container({"traefik.enable": "false"}), container({"traefik.enable": ""}), container(ready=False)],
)
def test_who_is_not_enabled_or_not_healthy_is_not_served(unserved: Container) -> None:
    assert table([unserved], OPTIONS) == Table()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"traefik.http.routers.lf.rule": "HostRegexp(`.*`)"}, "only Host"),
        ({"traefik.http.routers.lf.entryPoints": "websecure"}, "entryPoint 'websecure' doesn't exist"),
        ({"traefik.http.routers.lf.tls.certresolver": "le"}, "nonexistent certificate resolver 'le'"),
        ({"traefik.http.routers.lf.middlewares": "gone"}, 'middleware "gone@docker" does not exist'),
        ({"traefik.docker.network": "gone"}, "unable to find the IP address"),
        ({"traefik.http.services.lf.loadbalancer.server.port": ""}, "port is missing"),
        ({"traefik.http.services.two.loadbalancer.server.port": "1"}, "multiple services"),
        (
            {
                "traefik.http.middlewares.zip.compress": "",
                "traefik.http.middlewares.zip.basicauth.users": "a:b",
            },
            "know",
        ),
    ],
)
def test_a_router_with_a_mistake_is_reported_and_not_served(change: dict[str, str], message: str) -> None:
    found = table([container(change)], OPTIONS)
    assert any(message in error and error.startswith("langfuse: router ") for error in found.errors)
    assert len(found.routes) < 2


# --- the file provider

FILE = """
http:
  routers:
    lf: {rule: "Host(`langfuse.augmenter.pro`)", entryPoints: [https], tls: {certResolver: letsencrypt}, service: lf}
    lf-plain: {rule: "Host(`langfuse.augmenter.pro`)", entryPoints: [http], middlewares: [to-https], service: lf}
  middlewares:
    to-https: {redirectScheme: {scheme: https}}
  services:
    lf: {loadBalancer: {servers: [{url: "http://langfuse-web:3000"}]}}
"""


def test_files_become_routes_and_are_read_again(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    assert files.table(OPTIONS) == Table()
    (tmp_path / "routes.yaml").write_text(FILE)
    (tmp_path / "notes.txt").write_text("not: [for Traefik")
    found = files.table(OPTIONS)
    assert found.errors == ()
    secure = found.find("https", True, "langfuse.augmenter.pro", "/x")
    assert secure and secure.address == ("langfuse-web", 3000) and secure.resolver == "letsencrypt"
    plain = found.find("http", False, "langfuse.augmenter.pro", "/")
    assert plain and plain.redirect == "https" and not plain.permanent
    # One file alone is read as one file; what lies beside it is nothing.
    alone = Files(str(tmp_path / "routes.yaml"))
    (tmp_path / "more.yaml").write_text("htpp:")
    assert alone.table(OPTIONS) == found and files.table(OPTIONS).errors
    (tmp_path / "more.yaml").unlink()
    (tmp_path / "routes.yaml").write_text(FILE.replace("langfuse.augmenter.pro", "other.pro"))
    assert files.table(OPTIONS).find("https", True, "other.pro", "/")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[https]", "[websecure]"), "entryPoint 'websecure' doesn't exist"),
        (("certResolver: letsencrypt", "certResolver: le"), "nonexistent certificate resolver 'le'"),
        (("[to-https]", "[gone]"), 'middleware "gone@file" does not exist'),
        (
            ("tls: {certResolver: letsencrypt}, service: lf", "tls: {}, service: gone"),
            '"gone@file" does not exist',
        ),
        (("Host(`langfuse.augmenter.pro`)", "HostRegexp(`.*`)"), "only Host"),
    ],
)
def test_a_router_of_a_file_with_a_mistake_is_reported_and_not_served(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    (tmp_path / "routes.yaml").write_text(FILE.replace(*change, 1))
    found = Files(str(tmp_path)).table(OPTIONS)
    assert any(message in error for error in found.errors)
    assert len(found.routes) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("http:", "http: ["), "unable to decode"),
        (("http:", "htpp:"), "field not found, node: htpp"),
        (("rule:", "rules:"), "field not found, node: rules"),
        (("    to-https: {redirectScheme: {scheme: https}}\n", ""), "standalone element"),
    ],
)
def test_a_file_with_a_mistake_leaves_what_it_said_before(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    files = Files(str(tmp_path))
    (tmp_path / "routes.yaml").write_text(FILE)
    before = files.table(OPTIONS)
    (tmp_path / "routes.yaml").write_text(FILE.replace(*change, 1))
    after = files.table(OPTIONS)
    assert after.routes == before.routes
    assert any(message in error for error in after.errors)


def test_a_provider_that_does_not_answer_leaves_the_others_alone(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(FILE)
    files, gone = Files(str(tmp_path)), Files(str(tmp_path / "gone"))
    found = merged([Provider(lambda: gone.table(OPTIONS)), Provider(lambda: files.table(OPTIONS))])
    assert len(found.routes) == 2 and len(found.errors) == 1


def test_the_platform_s_file_and_its_labels_say_the_same(tmp_path: Path) -> None:
    services = [
        service(name="web", domain="web.augmenter.pro", further_domains=("www.augmenter.pro",)),
        service(name="api", domain="api.augmenter.pro"),
        service(name="worker"),
    ]
    (tmp_path / "routes.yaml").write_text(routes_yaml(services))
    written = Files(str(tmp_path)).table(OPTIONS)
    labelled = table(
        [Container(one.name, labels(one, "coolify"), {"coolify": one.name}) for one in services], OPTIONS
    )
    assert written.errors == labelled.errors == ()
    assert len(written.routes) == 4
    assert set(written.routes) == set(labelled.routes)
    (tmp_path / "routes.yaml").write_text(routes_yaml(services[2:]))
    assert Files(str(tmp_path)).table(OPTIONS) == Table()


def test_rules() -> None:
    assert rule("Host(`a.pro`) || Host(`B.pro`)") == (("a.pro", "b.pro"), ())
    assert rule("(Host(`a.pro`) || Host(`b.pro`)) && PathPrefix(`/api`)") == (("a.pro", "b.pro"), ("/api",))
    assert rule("Host(`a.pro`) && (PathPrefix(`/a`) || PathPrefix(`/b`))") == (("a.pro",), ("/a", "/b"))
    for wrong in ("", "Host(a.pro)", "Host(`a`) || PathPrefix(`/b`)", "Host(`a`) && Host(`b`)"):
        with pytest.raises(RouteError):
            rule(wrong)


def test_the_more_particular_rule_comes_first() -> None:
    api = {
        "traefik.http.routers.api.rule": "Host(`langfuse.augmenter.pro`) && PathPrefix(`/api`)",
        "traefik.http.routers.api.entrypoints": "https",
        "traefik.http.routers.api.tls": "true",
    }
    found = table([container(api)], OPTIONS)
    routes = [found.find("https", True, "langfuse.augmenter.pro", path) for path in ("/api/x", "/x")]
    assert [route.name for route in routes if route] == ["api", "lf"]


@pytest.mark.parametrize(
    ("method", "permanent", "status"),
    [("GET", False, 302), ("GET", True, 301), ("POST", False, 307), ("POST", True, 308)],
)
def test_redirections(method: str, permanent: bool, status: int) -> None:
    assert redirection(method, permanent)[0] == status


# --- through a running entry point


class Backend(BaseHTTPRequestHandler):
    """Says what it was asked; speaks another protocol on request."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.headers.get("Upgrade"):
            self.send_response(101)
            self.send_header("Upgrade", "echo")
            self.end_headers()
            self.wfile.write(self.rfile.readline().upper())
            return
        seen = {name.lower(): ", ".join(self.headers.get_all(name) or ()) for name in self.headers}
        content = json.dumps({"path": self.path, "headers": seen, "body": body}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 - the name http.server wants

    def log_message(self, format: str, *arguments: object) -> None:
        pass


AUTHORITY = trustme.CA()


def issue(domain: str) -> Pair:
    leaf = AUTHORITY.issue_cert(domain)
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes()


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The ports of entry points http and https, with a container behind them."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as backend:
        labels = LABELS | {"traefik.http.services.lf.loadbalancer.server.port": str(backend.server_port)}
        routes = table([Container("langfuse", labels, {"coolify": "127.0.0.1"})], OPTIONS)
        certificates = Certificates(str(tmp_path / "acme.json"), issue)
        certificates.ensure("langfuse.augmenter.pro", "letsencrypt")
        entrypoints = [
            EntryPoint(name, 0, lambda: routes, certificates.default, ping=name == "http", redirect=False)
            for name in ("http", "https")
        ]
        for server in (backend, *entrypoints):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield entrypoints[0].server_address[1], entrypoints[1].server_address[1]
        for server in (backend, *entrypoints):
            server.shutdown()
            server.server_close()


def secure(port: int, trust: ssl.SSLContext, name: str = "langfuse.augmenter.pro") -> ssl.SSLSocket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    return trust.wrap_socket(connection, server_hostname=name)


@pytest.fixture
def trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def test_a_request_reaches_the_container_with_the_client_s_address(
    ports: tuple[int, int], trust: ssl.SSLContext
) -> None:
    with secure(ports[1], trust) as client:
        client.sendall(
            b"POST /api?x=1 HTTP/1.1\r\nHost: langfuse.augmenter.pro\r\nContent-Length: 5\r\n"
            b"X-Forwarded-For: 9.9.9.9\r\n\r\nhello"
        )
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.0 200")
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (seen["path"], seen["body"]) == ("/api?x=1", "hello")
    assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert seen["headers"]["x-forwarded-proto"] == "https"
    assert seen["headers"]["host"] == "langfuse.augmenter.pro"


def test_another_protocol_passes(ports: tuple[int, int], trust: ssl.SSLContext) -> None:
    with secure(ports[1], trust) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: langfuse.augmenter.pro\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        )
        answer = client.recv(4096)
        assert b" 101 " in answer
        client.sendall(b"ping\n")
        assert client.makefile("rb").read().endswith(b"PING\n")


def test_plain_requests_are_redirected_unknown_ones_refused(ports: tuple[int, int]) -> None:
    def ask(path: str, host: str) -> tuple[int, str | None]:
        client = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=5)
        client.request("GET", path, headers={"Host": host})
        answer = client.getresponse()
        return answer.status, answer.getheader("Location")

    assert ask("/a?b", "langfuse.augmenter.pro") == (302, "https://langfuse.augmenter.pro/a?b")
    assert ask("/", "elsewhere.pro") == (404, None)
    assert ask("/ping", "localhost") == (200, None)


def test_an_unknown_name_gets_a_certificate_that_nobody_trusts(
    ports: tuple[int, int], trust: ssl.SSLContext
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        secure(ports[1], trust, "elsewhere.pro")


def test_certificates_are_kept_private_and_asked_for_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def obtain(domain: str) -> Pair:
        asked.append(domain)
        if domain == "down.pro":
            raise OSError("no answer")
        return issue(domain)

    storage = tmp_path / "acme" / "acme.json"
    first = Certificates(str(storage), obtain)
    first.ensure("a.pro", "letsencrypt")
    first.ensure("a.pro", "letsencrypt")
    with pytest.raises(OSError, match="no answer"):
        first.ensure("down.pro", "letsencrypt")
    first.ensure("down.pro", "letsencrypt")  # not again so soon
    Certificates(str(storage), obtain).ensure("a.pro", "letsencrypt")
    assert asked == ["a.pro", "down.pro"]
    assert storage.stat().st_mode & 0o777 == 0o600
    assert json.loads(storage.read_text())["letsencrypt"]["Certificates"][0]["domain"] == {"main": "a.pro"}


LEGO = """#!/bin/sh
for word; do case $word in
--path=*) path=${word#--path=} ;; --http.webroot=*) web=${word#*=} ;; --domains=*) domain=${word#*=} ;;
esac; done
if [ "$domain" = down.pro ]; then echo "acme: Registering account"; echo "acme: error: 429 :: too many" >&2; exit 1; fi
mkdir -p "$path/certificates" "$web/.well-known/acme-challenge"
echo answer >"$web/.well-known/acme-challenge/token_1"
echo certificate >"$path/certificates/$domain.crt"
echo key >"$path/certificates/$domain.key"
"""


def test_lego_gets_the_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/lego"
    program.parent.mkdir()
    program.write_text(LEGO)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    acme = Acme(tmp_path / "acme")
    assert acme.obtain("a.pro") == (b"certificate\n", b"key\n")
    assert acme.answer(f"{CHALLENGE}token_1") == "answer\n"
    for path in ("token_2", "", "../acme-challenge/token_1", "../../../certificates/a.pro.key"):
        assert acme.answer(CHALLENGE + path) == ""
    with pytest.raises(OSError, match=r"^acme: error: 429"):
        acme.obtain("down.pro")


def test_a_challenge_is_answered_before_everything_else() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as backend:
        labels = LABELS | {"traefik.http.services.lf.loadbalancer.server.port": str(backend.server_port)}
        routes = table([Container("langfuse", labels, {"coolify": "127.0.0.1"})], OPTIONS)
        default = Certificates("", issue).default
        answers = {f"{CHALLENGE}token": "answer"}
        asked = EntryPoint(
            "http",
            0,
            lambda: routes,
            default,
            ping=False,
            redirect=True,
            challenge=lambda path: answers.get(path, ""),
        )
        threading.Thread(target=asked.serve_forever, args=(0.02,), daemon=True).start()
        for path, status, body in (("token", 200, b"answer"), ("other", 404, b"404 page not found\n")):
            connection = http.client.HTTPConnection("127.0.0.1", asked.server_address[1], timeout=5)
            connection.request("GET", CHALLENGE + path, headers={"Host": "langfuse.augmenter.pro"})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (status, body)
        asked.shutdown()
        asked.server_close()


def test_the_default_certificate_is_traefik_s() -> None:
    certificate, key = self_signed("TRAEFIK DEFAULT CERT")
    assert b"BEGIN CERTIFICATE" in certificate and b"PRIVATE KEY" in key


def test_containers_come_from_docker_s_socket(tmp_path: Path) -> None:
    listed = [
        {
            "Names": ["/langfuse"],
            "Labels": LABELS,
            "Status": f"Up 3 seconds{health}",
            "NetworkSettings": {
                "Networks": {"coolify": {"IPAddress": "10.0.1.2"}, "none": {"IPAddress": ""}}
            },
        }
        for health in ("", " (healthy)", " (unhealthy)", " (health: starting)")
    ]

    class Docker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(listed).encode()
            self.send_response(200 if self.path == "/containers/json" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    endpoint = str(tmp_path / "docker.sock")
    with socketserver.ThreadingUnixStreamServer(endpoint, Docker) as engine:
        threading.Thread(target=engine.serve_forever, args=(0.02,), daemon=True).start()
        found = docker.containers(endpoint)
        engine.shutdown()
    assert [each.ready for each in found] == [True, True, False, False]
    assert found[0].networks == {"coolify": "10.0.1.2"} and found[0].name == "langfuse"
    with pytest.raises(OSError):
        docker.containers(str(tmp_path / "gone.sock"))


def test_nobody_is_exposed_by_default_where_the_options_say_so() -> None:
    open_to_all = Options(entrypoints=OPTIONS.entrypoints, resolvers=OPTIONS.resolvers)
    assert len(table([container({"traefik.enable": ""})], open_to_all).routes) == 2

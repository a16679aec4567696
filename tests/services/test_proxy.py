"""The domains, tried by a stranger on the server's network: TLS, redirects, answers (requirements 7.1 and 10.1)."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from blueprint import Secrets, group_data
from blueprint.model import Http, Service
from lab import authority
from lab.machine import Machine
from tests.host.conftest import CompletedRun, Outside, await_true
from tests.host.test_firewall import SCAN

STACKS = group_data.read().blueprint("lab").stacks
SERVED = {service.domain: service for stack in STACKS for service in stack.services if service.domain}
# A page that only the one service has, by its domain: path, password's name, and what is on it.
THROUGH_THE_PROXY_ONLY = {
    "langfuse.augmenter.pro": ("/api/public/health", "", '"version"'),
    "litellm.augmenter.pro": ("/health/liveliness", "", "I'm alive!"),
    "bullboard.augmenter.pro": ("/", "bull_board/password", '"boardTitle":"Queues"'),
    "flower.augmenter.pro": ("/broker", "flower/password", "shared-redis:6379/0"),
    "flower-voicejury.augmenter.pro": ("/broker", "flower/password", "shared-redis:6379/2"),
    "flower-renov-bati.augmenter.pro": ("/broker", "flower/password", "shared-redis:6379/5"),
    "uptime.augmenter.pro": ("/api/entry-page", "", "entryPage"),
}

Browse = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def browse(machine: Machine, outside: Outside) -> Browse:
    """curl a URL as a stranger, who knows the domains by DNS and trusts Let's Encrypt."""

    def curl(url: str, *options: str) -> subprocess.CompletedProcess[str]:
        domain = url.split("/")[2]
        known = [f"{domain}:{port}:{machine.lab.machine}" for port in (80, 443)]
        resolved = ("--resolve", known[0], "--resolve", known[1])
        trusted = ("--cacert", str(authority.certificate_file()))
        return outside(
            "curl", "-sS", "--noproxy", "*", "--max-time", "60", *resolved, *trusted, *options, url
        )

    return curl


def status(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("\n")[2]


STATUS = ("--write-out", "\n%{http_code}")


def health(service: Service) -> str:
    assert isinstance(service.health, Http)
    return service.health.path


@pytest.mark.checklist("1.6")
@pytest.mark.parametrize("domain", SERVED)
def test_a_domain_is_served_with_its_own_certificate(browse: Browse, domain: str) -> None:
    service = SERVED[domain]
    path = health(service) if isinstance(service.health, Http) else "/"
    # curl refuses a certificate for another name, or of an authority that it does not know.
    done = browse(f"https://{domain}{path}", *STATUS, "--dump-header", "-")
    assert status(done)[0] in "23", done.stdout
    assert "strict-transport-security" not in done.stdout.lower()


@pytest.mark.parametrize("domain", THROUGH_THE_PROXY_ONLY)
def test_the_right_service_answers(browse: Browse, domain: str) -> None:
    path, password, page = THROUGH_THE_PROXY_ONLY[domain]
    url = f"https://{domain}{path}"
    if password:
        assert status(browse(url, *STATUS)) == "401"
        login = f"admin:{Secrets.open('lab').provided(password)}"
        done = browse(url, "--user", login)
    else:
        done = browse(url)
    assert page in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("domain", SERVED)
def test_plain_http_leads_to_https(browse: Browse, domain: str) -> None:
    done = browse(f"http://{domain}/some/page?x=1", "--write-out", "\n%{http_code} %{redirect_url}")
    code, url = status(done).split(" ")
    assert code[0] == "3"
    assert url == f"https://{domain}/some/page?x=1"


@pytest.mark.parametrize("name", ["unknown.example.com", "traefik", "the server's address"])
def test_an_unknown_name_gets_nothing_of_ours(machine: Machine, browse: Browse, name: str) -> None:
    name = name if " " not in name else machine.lab.machine
    refused = browse(f"https://{name}/")
    assert refused.returncode == 60, "an unknown name was vouched for"
    for scheme in ("http", "https"):
        for path in ("/", "/ping", "/api/public/health", "/dashboard/"):
            done = browse(f"{scheme}://{name}{path}", "--insecure", *STATUS)
            assert done.stdout == "404 page not found\n\n404"
    shown = ssl.get_server_certificate((machine.lab.machine, 443), timeout=60)
    subject = subprocess.run(
        ["openssl", "x509", "-noout", "-text"], input=shown, capture_output=True, text=True, check=True
    ).stdout
    assert not [domain for domain in SERVED if domain in subject]


def test_its_own_pages_are_published_nowhere(machine: Machine) -> None:
    published = machine.run("docker port traefik").stdout.splitlines()
    assert {line.split(" ")[0] for line in published} == {"80/tcp", "443/tcp", "443/udp"}


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_a_stranger_reaches_ssh_and_the_web_and_no_other_port(
    machine: Machine, outside: Outside, family: str
) -> None:
    address = machine.lab.machine if family == "v4" else machine.lab.address6(2)
    done = outside(sys.executable, SCAN, address, timeout=300)
    assert done.returncode == 0, done.stderr
    assert set(map(int, done.stdout.split())) == {22, 80, 443}


def test_certificates_outlive_the_proxy(machine: Machine, browse: Browse) -> None:
    before = machine.run("docker exec traefik cat /traefik/acme.json").stdout
    assert machine.run("docker exec traefik stat -c %a /traefik/acme.json").stdout.strip() == "600"
    machine.run("docker restart traefik")
    domain = "litellm.augmenter.pro"
    await_true(
        lambda: browse(f"https://{domain}/health/liveliness").returncode == 0, 300, "proxy after its restart"
    )
    assert machine.run("docker exec traefik cat /traefik/acme.json").stdout == before


@pytest.fixture
def coolifys(machine: Machine, deploy: Callable[..., CompletedRun]) -> Iterator[None]:
    """Coolify's proxy in place of ours; afterwards ours again."""
    image = machine.run("docker inspect --format '{{.Image}}' traefik").stdout.strip()
    # Coolify's follows the labels of containers.
    own = json.loads(machine.run("docker inspect --format '{{json .Config.Cmd}}' traefik").stdout)
    options = [one for one in own if not one.startswith("--providers.")]
    options += ["--providers.docker=true", "--providers.docker.exposedbydefault=false"]
    machine.run("docker stop traefik")
    machine.run(
        "docker run -d --name coolify-proxy --label coolify.managed=true "
        "--label com.docker.compose.project=proxy-of-coolify --network coolify "
        "-p 80:80 -p 443:443 -p 443:443/udp -v /var/run/docker.sock:/var/run/docker.sock:ro "
        f"{image} {' '.join(options)}"
    )
    yield
    machine.run("docker rm -f coolify-proxy")
    done = deploy("--data", "phase=litellm,monitoring")
    assert done.rc == 0, done.output


def test_coolifys_proxy_serves_our_domains_and_ours_goes_on_request(
    machine: Machine, browse: Browse, deploy: Callable[..., CompletedRun], coolifys: None
) -> None:
    again = deploy("--data", "phase=litellm")
    assert again.changed == []
    assert machine.run("docker inspect --format '{{.State.Status}}' traefik").stdout.strip() == "exited"
    url = "https://litellm.augmenter.pro/health/liveliness"
    await_true(lambda: "alive" in browse(url).stdout, 300, "answer through Coolify's proxy")
    gone = deploy("--data", "phase=litellm", "--data", "remove=proxy")
    assert gone.rc == 0, gone.output
    assert machine.run("docker inspect traefik", check=False).returncode != 0
    assert machine.run("docker volume ls -q").stdout.split().count("proxy_certificates") == 1
    assert "alive" in browse(url).stdout
    again = deploy("--data", "phase=litellm", "--data", "remove=proxy")
    assert again.changed == []


def test_a_container_of_coolifys_under_one_of_our_names_stops_the_run(
    machine: Machine, deploy: Callable[..., CompletedRun]
) -> None:
    image = machine.run("docker inspect --format '{{.Image}}' traefik").stdout.strip()
    theirs = "docker run -d --label coolify.managed=true --label com.docker.compose.project=x1y2 --entrypoint sleep"
    machine.run(f"{theirs} --name litellm-x1y2 --network coolify --network-alias litellm {image} 999")
    try:
        refused = deploy("--data", "phase=litellm,monitoring")
        assert refused.rc != 0
        assert "litellm-x1y2" in refused.output
        assert "answers to litellm" in refused.output
        assert "docs/coolify.md" in refused.output
    finally:
        machine.run("docker rm -f litellm-x1y2")

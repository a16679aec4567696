"""What the simulated internet is configured with: everything from one table of names, on the lab's addresses only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab import authority
from lab.paths import Lab
from lab.upstream import server, traffic
from lab.upstream.accounts import keys, seeds
from lab.upstream.names import SITES, Mirror, host_names

MIRROR = Mirror("https", "mirror.example", 8443)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(authority, "FOLDER", tmp_path / "authority")
    monkeypatch.setattr(server, "_resolvers", lambda: ["192.0.2.53", "[2001:db8::53]"])
    return Lab(tmp_path, 7)


@pytest.fixture
def config(lab: Lab, tmp_path: Path) -> dict[str, str]:
    bundle = tmp_path / "root/etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(b"machine's own\n")
    return {
        name: text.decode() for name, text in server.configuration(lab, tmp_path / "root", MIRROR).items()
    }


def test_every_name_has_dns_and_a_server(config: dict[str, str]) -> None:
    assert len(host_names(MIRROR)) == len(set(host_names(MIRROR))) == len(SITES) + 1
    for name in host_names(MIRROR):
        assert f"host-record={name},198.18.7.3,fd53:f007::3\n" in config["dnsmasq.conf"]
        assert re.search(rf"^ *server_name {re.escape(name)};$", config["nginx.conf"], re.MULTILINE)
        assert f"198.18.7.3 {name}\n" in config["hosts"]


def test_nothing_listens_anywhere_else(config: dict[str, str]) -> None:
    listening = set(
        re.findall(r"^ *listen (.*?):\d+(?: ssl)?(?: default_server)?;$", config["nginx.conf"], re.MULTILINE)
    )
    assert listening == {"198.18.7.3", "[fd53:f007::3]"}
    assert len(re.findall(r"\blisten\b", config["nginx.conf"])) == 2 * (len(host_names(MIRROR)) + 2)
    assert re.findall(r"listen-address=(.*)", config["dnsmasq.conf"]) == ["198.18.7.3", "fd53:f007::3"]
    assert "bind-interfaces\n" in config["dnsmasq.conf"]
    assert "net: unix\n" in config["registry.yml"]


def test_the_mirror_is_passed_through_as_it_is_configured(config: dict[str, str]) -> None:
    assert "set $mirror https://mirror.example:8443;" in config["nginx.conf"]
    assert "listen 198.18.7.3:8443 ssl;" in config["nginx.conf"]
    assert "resolver 192.0.2.53 [2001:db8::53] ipv6=off;" in config["nginx.conf"]


def test_only_this_machine_may_push(config: dict[str, str]) -> None:
    assert set(re.findall(r"^ *allow (.*);$", config["nginx.conf"], re.MULTILINE)) == {
        "198.18.7.1",
        "198.18.7.3",
        "fd53:f007::1",
        "fd53:f007::3",
    }
    assert config["nginx.conf"].count("deny all;") == config["nginx.conf"].count("limit_except GET {") > 0


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("http://mirror.example/debian", "http://mirror.example:80"),
        ("https://mirror.example/debian", "https://mirror.example:443"),
        ("http://mirror.example:3142/debian", "http://mirror.example:3142"),
    ],
)
def test_a_mirror_is_any_web_server(uri: str, origin: str) -> None:
    assert Mirror.of(uri).origin == origin


def test_a_mirror_on_disk_cannot_be_passed_through() -> None:
    with pytest.raises(ValueError, match="file:/srv/mirror"):
        Mirror.of("file:/srv/mirror")


def test_credentials_are_random_private_and_kept(lab: Lab, tmp_path: Path) -> None:
    first = keys(lab)
    assert first == keys(lab) != keys(Lab(tmp_path / "other", 8))
    assert (lab.state / "upstream/keys.json").stat().st_mode & 0o777 == 0o600
    assert seeds(lab)["telegram/token"] == first["telegram"]


def test_disturbing_and_recovering(lab: Lab) -> None:
    traffic.disturb(lab, "api.groq.com", status=503, missing_models=("qwen/qwen3-32b",))
    traffic.disturb(lab, "ghcr.io", status=503)
    assert "qwen3-32b" in (lab.state / "upstream/control.json").read_text()
    assert (lab.state / "upstream/down/ghcr.io").exists()
    traffic.recover(lab)
    assert not (lab.state / "upstream/control.json").exists()
    assert not list((lab.state / "upstream/down").iterdir())
    with pytest.raises(ValueError, match="is no API"):
        traffic.disturb(lab, "ghcr.io", delay=3)
    with pytest.raises(ValueError, match="no simulated host"):
        traffic.disturb(lab, "example.org", status=503)


def test_the_log_is_read_up_to_its_last_whole_line(lab: Lab) -> None:
    log = lab.state / "upstream/requests.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"host":"ghcr.io","path":"/v2/"}\n{"host":"quay.io","path":"/v2/"}\n{"host":"gh')
    assert [request["host"] for request in traffic.requests(lab)] == ["ghcr.io", "quay.io"]
    assert traffic.requests(lab, "quay.io") == [{"host": "quay.io", "path": "/v2/"}]


def test_the_authority_is_made_once_and_signs(lab: Lab, tmp_path: Path) -> None:
    first = authority.certificate_file().read_bytes()
    authority.certificate(["ghcr.io"], ["198.18.7.3"], tmp_path)
    assert authority.certificate_file().read_bytes() == first
    for private in (authority.FOLDER / "ca.key", tmp_path / "tls.key"):
        assert private.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tls.crt").read_text().startswith("-----BEGIN CERTIFICATE-----")

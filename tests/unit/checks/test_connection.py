"""How the checks reach the host of an environment."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from blueprint import DeclarationError, environment
from blueprint.environment import HostEntry
from checks import connection

ENTRY = HostEntry(
    name="sourcefast",
    address="server.example.org",
    port=2222,
    user="deploy",
    key="/home/me/.ssh/a key",
    known_hosts="/home/me/known hosts",
    sudo=True,
    groups=(),
    data={},
    file="production.yaml",
    login="",
    next_step="",
)


def test_the_host_is_named_as_testinfra_takes_it() -> None:
    assert connection.host_spec(ENTRY) == "ssh://deploy@server.example.org:2222"


def test_openssh_understands_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    others = Path("their config")
    others.write_text(
        "Host server.example.org\n    ProxyJump jump.example.org\n    StrictHostKeyChecking no\n"
    )
    file = tmp_path / "ssh_config"
    file.write_text(connection.ssh_config(replace(ENTRY, ssh_config=str(others)), tmp_path))
    command = ["ssh", "-F", str(file), "-G", "server.example.org"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = dict(line.split(" ", 1) for line in output.splitlines())
    assert options["stricthostkeychecking"] == "true"
    assert options["userknownhostsfile"] == ENTRY.known_hosts
    assert options["identityfile"] == ENTRY.key
    assert options["proxyjump"] == "jump.example.org"
    assert options["controlpath"] == str(tmp_path / "connection")


def test_a_host_without_a_configuration_of_others_has_none(tmp_path: Path) -> None:
    assert "Include" not in connection.ssh_config(replace(ENTRY, ssh_config=os.devnull), tmp_path)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[HostEntry]:
    """The hosts of the environment."""
    found = [ENTRY]
    monkeypatch.setattr(environment, "hosts", lambda *_, **__: found)
    return found


@pytest.mark.parametrize("name", ["", "sourcefast", "server.example.org", "an-alias-of-openssh"])
def test_an_only_host_is_meant_by_any_name(hosts: list[HostEntry], name: str) -> None:
    assert connection.declared_host(name).entry == ENTRY


def test_of_several_hosts_one_has_to_be_named(hosts: list[HostEntry]) -> None:
    other = replace(ENTRY, name="other", address="other.example.org")
    hosts.append(other)
    assert connection.declared_host("other.example.org").entry == other
    with pytest.raises(DeclarationError) as refused:
        connection.declared_host("neither")
    assert "one of sourcefast, other" in str(refused.value.problems[0])

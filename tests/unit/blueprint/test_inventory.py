"""One environment a run, and its hosts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from blueprint import DeclarationError
from blueprint.environment import HostEntry, environment_name, hosts

NOBODY = 65534
ROLES = ("gpu", "shared")
LAB = {
    "address": "198.18.7.2",
    "port": 22,
    "user": "root",
    "key": ".lab/id_ed25519",
    "known_hosts": ".lab/known_hosts",
}


def lab(root: Path, text: str) -> Path:
    (root / ".lab").mkdir(exist_ok=True)
    (root / ".lab" / "lab.json").write_text(text)
    return root


def production(root: Path, document: Any) -> Path:
    text = document if isinstance(document, str) else yaml.safe_dump(document)
    (root / "production.yaml").write_text(text)
    return root


def one_host(**fields: Any) -> dict[str, Any]:
    return {"hosts": {"server": {"address": "203.0.113.7"} | fields}}


def refused(root: Path, environment: str = "production") -> list[str]:
    with pytest.raises(DeclarationError) as error:
        hosts(environment, ROLES, root)
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("variables", "name"),
    [({}, "lab"), ({"SOURCEFAST_ENV": ""}, "lab"), ({"SOURCEFAST_ENV": "production"}, "production")],
)
def test_the_lab_unless_production_is_asked_for(variables: dict[str, str], name: str) -> None:
    assert environment_name(variables) == name


def test_no_other_environment() -> None:
    with pytest.raises(DeclarationError) as error:
        environment_name({"SOURCEFAST_ENV": "prodution"})
    assert str(error.value) == (
        "environment variable: SOURCEFAST_ENV is 'prodution', but must be lab or production; did you mean production?"
    )


def test_the_labs_host(tmp_path: Path) -> None:
    (host,) = hosts("lab", ROLES, lab(tmp_path, json.dumps(LAB)))
    assert host == HostEntry(
        name="lab",
        address="198.18.7.2",
        port=22,
        user="root",
        key=str(tmp_path / ".lab/id_ed25519"),
        known_hosts=str(tmp_path / ".lab/known_hosts"),
        ssh_config="/dev/null",
        groups=ROLES,
        data={},
        file=".lab/lab.json",
        login="ssh -F .lab/ssh_config lab",
        next_step="make test tries everything that was built",
    )


def test_no_lab(tmp_path: Path) -> None:
    assert refused(tmp_path, "lab") == [
        ".lab/lab.json: the lab is not there, but must be up; run `make lab`."
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"address": "198.18.7.2"})])
def test_a_lab_that_was_described_by_halves(tmp_path: Path, text: str) -> None:
    (problem,) = refused(lab(tmp_path, text), "lab")
    assert problem.startswith(".lab/lab.json: the lab's description is unreadable")
    assert problem.endswith("run `make lab`.")


def test_a_host_of_production_with_nothing_but_its_address(tmp_path: Path) -> None:
    (host,) = hosts("production", ROLES, production(tmp_path, one_host()))
    assert (host.name, host.address, host.port, host.user, host.sudo) == (
        "server",
        "203.0.113.7",
        22,
        "root",
        False,
    )
    assert host.login == "ssh root@203.0.113.7"
    assert host.groups == ROLES
    assert host.key is None
    assert host.known_hosts == str(Path.home() / ".ssh/known_hosts")


def test_a_host_of_production_with_everything(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    fields = one_host(
        port=2222,
        user="owner",
        sudo=True,
        key=str(key),
        known_hosts=str(key),
        ssh_config=str(key),
        groups=["gpu"],
        hardware_profile="i7_9700k",
        data={"swap_gib": 8, "open_tcp_ports": [22]},
    )
    (host,) = hosts("production", ROLES, production(tmp_path, fields))
    assert (host.port, host.user, host.sudo, host.key, host.groups) == (
        2222,
        "owner",
        True,
        str(key),
        ("gpu",),
    )
    assert host.login == f"ssh -F {key} -i {key} -p 2222 owner@203.0.113.7"
    assert host.ssh_config == str(key)
    assert host.data == {"swap_gib": 8, "open_tcp_ports": [22], "hardware_profile": "i7_9700k"}


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"address": ""}, "hosts.server.address is '', but must be a host name or an address"),
        ({"address": None}, "hosts.server.address is None"),
        (
            {"port": 70000},
            "hosts.server.port is 70000, but must be a whole number from 1 to 65535 (a TCP port)",
        ),
        ({"port": "22"}, "hosts.server.port is '22'"),
        ({"port": True}, "hosts.server.port is True"),
        ({"sudo": "yes please"}, "hosts.server.sudo is 'yes please', but must be true or false"),
        (
            {"key": "/nowhere"},
            "hosts.server.key is '/nowhere', but must be the path of a file that you can read",
        ),
        ({"adress": "x"}, "hosts.server.adress is not a known key, but must be one of address, port, user"),
        ({"adress": "x"}, "did you mean address?"),
        (
            {"groups": ["gpus"]},
            "hosts.server.groups is ['gpus'], but must be a list of gpu, shared: at least one, and each once; "
            "did you mean gpu?",
        ),
        (
            {"groups": []},
            "hosts.server.groups is [], but must be a list of gpu, shared: at least one, and each once",
        ),
        ({"groups": ["gpu", "gpu"]}, "hosts.server.groups is ['gpu', 'gpu'], but must be"),
        ({"groups": [["gpu"]]}, "hosts.server.groups is [['gpu']], but must be"),
        ({"groups": "gpu"}, "hosts.server.groups is 'gpu', but must be a list of gpu, shared"),
        (
            {"address": " "},
            "hosts.server.address is ' ', but must be a host name or an address, without user and",
        ),
        ({"address": "owner@x"}, "hosts.server.address is 'owner@x'"),
        ({"address": "x:22"}, "hosts.server.address is 'x:22'"),
        ({"address": "ssh://x"}, "hosts.server.address is 'ssh://x'"),
        ({"address": "203.0.113.700"}, "hosts.server.address is '203.0.113.700'"),
        ({"address": "-oProxyCommand=x"}, "hosts.server.address is '-oProxyCommand=x'"),
        ({"user": "-l"}, "hosts.server.user is '-l', but must be a user name"),
        ({"user": " "}, "hosts.server.user is ' '"),
        (
            {"key": "~nouser/key"},
            "hosts.server.key is '~nouser/key', but must be the path of a file that you can read",
        ),
        ({"key": "a\0b"}, "hosts.server.key is 'a\\x00b', but must be"),
        ({"key": "/"}, "hosts.server.key is '/', but must be"),
        ({"key": None}, "hosts.server.key is None, but must be"),
        ({"known_hosts": "x" * 10**5}, "hosts.server.known_hosts is 'xxx"),
        ({"user": [[[[[["x"]]]]]]}, "hosts.server.user is [[[[...]]]], but must be"),
        ({"hardware_profile": ""}, "hosts.server.hardware_profile is '', but must be a hardware profile"),
        ({"data": ["x"]}, "hosts.server.data is ['x'], but must be keys and values"),
        (
            {"hardware_profile": "i7_9700k", "data": {"hardware_profile": "celeron_g4930"}},
            "hosts.server.hardware_profile is 'i7_9700k', but must be said once, here or under data",
        ),
        ({"data": {"swapgib": 1}}, "hosts.server.data.swapgib is not a known key"),
        ({"data": {"swapgib": 1}}, "did you mean swap_gib?"),
        ({"data": {"swap_gib": "1"}}, "hosts.server.data.swap_gib is '1', but must be a whole number"),
        ({"data": {"gpus": []}}, "hosts.server.data.gpus is set here, but must be changed in group_data/"),
    ],
)
def test_what_is_wrong_with_a_host(tmp_path: Path, fields: dict[str, Any], output: str) -> None:
    (problem,) = refused(production(tmp_path, one_host(**fields)))
    assert problem.startswith("production.yaml: ")
    assert output in problem
    assert len(problem) < 1000


@pytest.mark.parametrize(
    "name", ["", "  ", "@local", "@docker/x", "../../etc", "-x", "a b", "a\nb", "a\x1b[31m", "é", "x" * 64]
)
def test_a_name_that_pyinfra_or_a_shell_would_take_for_something_else(tmp_path: Path, name: str) -> None:
    (problem,) = refused(production(tmp_path, {"hosts": {name: {"address": "x"}}}))
    assert problem.startswith(
        f"production.yaml: the name of a host is {name!r}, but must be letters, digits and ._-, "
    )


@pytest.mark.parametrize("name", ["all", "inventory", "lab", "production", "gpu", "celeron_g4930"])
def test_a_host_is_not_called_as_a_group(tmp_path: Path, name: str) -> None:
    root = production(tmp_path, {"hosts": {name: {"address": "x"}}})
    with pytest.raises(DeclarationError) as error:
        hosts("production", ROLES, root, profiles=("celeron_g4930",))
    assert str(error.value) == (
        f"production.yaml: the name of a host is {name}, as a group is called, but must be one of its own."
    )


@pytest.mark.parametrize(
    "address", ["server", "my_alias", "a.b.example", "203.0.113.7", "2001:db8::7", "fe80::1%eth0"]
)
def test_addresses(tmp_path: Path, address: str) -> None:
    (host,) = hosts("production", ROLES, production(tmp_path, one_host(address=address)))
    assert host.address == address


def test_a_machine_is_one_host(tmp_path: Path) -> None:
    document = {"hosts": {"a": {"address": "x"}, "b": {"address": "x"}, "c": {"address": "x", "port": 23}}}
    assert refused(production(tmp_path, document)) == [
        "production.yaml: hosts.b.address is x, but must be another than a has."
    ]


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    document = {"host": {}, "hosts": {"a": {"port": 0, "data": {"swapgib": 1}}, "b": "203.0.113.8"}}
    assert [problem.partition(" is ")[0] for problem in refused(production(tmp_path, document))] == [
        "production.yaml: host",
        "production.yaml: hosts.a.address",
        "production.yaml: hosts.a.port",
        "production.yaml: hosts.a.data.swapgib",
        "production.yaml: hosts.b",
    ]


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("hosts: [a\n", "line 2, column 1 is no YAML"),
        ("", "hosts is missing, but must be the hosts by their names"),
        ("hosts:\n", "hosts is empty, but must be the hosts by their names"),
        ("hosts: {}\n", "hosts is empty"),
        ("hosts: []\n", "hosts is empty"),
        ("hosts: [password]\n", "hosts is a list"),
        ("hosts: password\n", "hosts is text"),
        ("hosts: {a: password}\n", "hosts.a is text, but must be a mapping with address"),
        ("hosts: {a: {address: x, port: 022}}", "hosts.a.port is '022', but must be a whole number"),
        (
            "hosts: {a: {address: x, user: 2020-99-99}}",
            "hosts.a.user is '2020-99-99', but must be a user name",
        ),
    ],
)
def test_what_is_no_production_yaml(tmp_path: Path, text: str, output: str) -> None:
    (problem,) = refused(production(tmp_path, text))
    assert problem.startswith("production.yaml: ")
    assert output in problem
    assert "password" not in problem


def test_no_production_yaml(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path)
    assert "production.yaml: the file is not there" in problem
    assert "production.example.yaml" in problem


def test_a_production_yaml_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "production.yaml").mkdir()
    assert refused(tmp_path) == [
        "production.yaml: the file is unreadable (Is a directory), but must be readable by you."
    ]


def test_a_production_yaml_of_somebody_else() -> None:
    """Without root's right to read everything, which this gives up for the while."""
    with TemporaryDirectory() as folder:  # unlike tmp_path, below no folder that only root may enter
        root = production(Path(folder), one_host())
        root.chmod(0o755)
        (root / "production.yaml").chmod(0)
        user = os.geteuid()
        os.seteuid(user or NOBODY)
        try:
            problems = refused(root)
        finally:
            os.seteuid(user)
    assert problems == [
        "production.yaml: the file is unreadable (Permission denied), but must be readable by you."
    ]

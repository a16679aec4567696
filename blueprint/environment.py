"""Which hosts a run is for: the lab's machine, or those of production.yaml. Never both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint import yaml_files
from blueprint.group_data import ENVIRONMENTS, validate_overrides
from blueprint.problems import DeclarationError, Problem, closest

ROOT = Path(__file__).resolve().parent.parent
VARIABLE = "SOURCEFAST_ENV"
LAB_FILE = ".lab/lab.json"
PRODUCTION_FILE = "production.yaml"

_REQUIRED = {"address": "a host name or an address"}
_OPTIONAL = {
    "port": "a TCP port",
    "user": "a user name",
    "key": "the path of a private key",
    "known_hosts": "the path of a known_hosts file",
    "sudo": "true or false",
    "groups": "a list of groups",
    "hardware_profile": "a hardware profile",
    "data": "keys and values",
}


@dataclass(frozen=True, kw_only=True)
class HostEntry:
    """A host of the environment, and how it is reached.

    :param name: how it is called in the inventory
    :param address: where it listens
    :param port: its SSH port
    :param user: who logs in; root, or someone with sudo
    :param key: private key, or None for the agent and the user's own keys
    :param known_hosts: file that has its host key: a key that is not in it ends the run
    :param ssh_config: OpenSSH configuration to follow, or None for the user's own
    :param sudo: whether commands are run through sudo
    :param groups: what the host is for
    :param data: its own values for keys of group_data/
    :param file: where it is declared, for messages
    :param login: command that logs in to it, for a person after a run
    :param next_step: what a person does after a run that went well
    """

    name: str
    address: str
    file: str
    port: int = 22
    user: str = "root"
    key: str | None = None
    known_hosts: str = "~/.ssh/known_hosts"
    ssh_config: str | None = None
    sudo: bool = False
    groups: tuple[str, ...]
    data: Mapping[str, Any]
    login: str
    next_step: str


def environment_name(variables: Mapping[str, str]) -> str:
    """The environment that the variable SOURCEFAST_ENV names: the lab, unless it says production.

    :raises DeclarationError: for anything else
    """
    name = variables.get(VARIABLE) or "lab"
    if name not in ENVIRONMENTS:
        allowed = " or ".join(ENVIRONMENTS)
        hint = closest(name, ENVIRONMENTS)
        raise DeclarationError([Problem("environment variable", VARIABLE, repr(name), allowed, hint)])
    return name


def hosts(environment: str, roles: Iterable[str], root: Path = ROOT) -> list[HostEntry]:
    """The hosts of an environment.

    :param roles: groups that a host can be in; without `groups` it is in all of them
    :raises DeclarationError: with everything that is wrong in the environment's file
    """
    described = {"lab": _lab, "production": _production}
    return described[environment](tuple(roles), root)


def _lab(roles: tuple[str, ...], root: Path) -> list[HostEntry]:
    try:
        lab = json.loads((root / LAB_FILE).read_text(encoding="utf-8"))
        entry = HostEntry(
            name="lab",
            address=lab["address"],
            port=lab["port"],
            user=lab["user"],
            key=str(root / lab["key"]),
            known_hosts=str(root / lab["known_hosts"]),
            ssh_config="/dev/null",  # a proxy in the user's own would lead out of the lab
            groups=roles,
            data={},
            file=LAB_FILE,
            login="ssh -F .lab/ssh_config lab",
            next_step="make test tries everything that was built",
        )
        return [entry]
    except FileNotFoundError:
        problem = Problem(LAB_FILE, "the lab", "not there", "up", "run `make lab`")
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"unreadable ({type(error).__name__}: {error})"
        problem = Problem(
            LAB_FILE, "the lab's description", found, "what `make lab` writes", "run `make lab`"
        )
    raise DeclarationError([problem])


def _production(roles: tuple[str, ...], root: Path) -> list[HostEntry]:
    entries: list[HostEntry] = []
    problems: list[Problem] = []
    document = _production_document(root)
    for key in document.keys() - {"hosts"}:
        problems.append(
            Problem(PRODUCTION_FILE, str(key), "not a known key", "hosts", closest(str(key), ["hosts"]))
        )
    declared = document.get("hosts")
    if not isinstance(declared, dict) or not declared:
        problems.append(Problem(PRODUCTION_FILE, "hosts", _kind(declared), "the hosts by their names"))
        declared = {}
    for name, fields in declared.items():
        found = _entry_problems(f"hosts.{name}", fields, roles)
        problems += found
        if not found:
            entries.append(_entry(str(name), fields, roles))
    if problems:
        raise DeclarationError(problems)
    return entries


def _production_document(root: Path) -> dict[str, Any]:
    try:
        return yaml_files.parse(yaml_files.read(root / PRODUCTION_FILE, PRODUCTION_FILE), PRODUCTION_FILE)
    except FileNotFoundError:
        remedy = "copy and fill it: production.example.yaml shows how it looks"
        raise DeclarationError([Problem(PRODUCTION_FILE, "the file", "not there", "there", remedy)]) from None


def _entry_problems(where: str, fields: object, roles: tuple[str, ...]) -> list[Problem]:
    if not isinstance(fields, dict):
        return [Problem(PRODUCTION_FILE, where, _kind(fields), f"a mapping with {', '.join(_REQUIRED)}")]
    known = _REQUIRED | _OPTIONAL
    problems: list[Problem] = []

    def wrong(key: str, expected: str, remedy: str = "") -> None:
        problems.append(Problem(PRODUCTION_FILE, f"{where}.{key}", repr(fields[key]), expected, remedy))

    for key in fields.keys() - known.keys():
        allowed = f"one of {', '.join(known)}"
        hint = closest(str(key), known)
        problems.append(Problem(PRODUCTION_FILE, f"{where}.{key}", "not a known key", allowed, hint))
    for key, expected in _REQUIRED.items():
        if key not in fields:
            problems.append(Problem(PRODUCTION_FILE, f"{where}.{key}", "missing", expected))
    for key in ("address", "user", "key", "known_hosts", "hardware_profile"):
        value = fields.get(key, "given elsewhere")
        if not isinstance(value, str) or not value:
            wrong(key, known[key])
    port = fields.get("port", 22)
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        wrong("port", "a TCP port from 1 to 65535")
    if not isinstance(fields.get("sudo", False), bool):
        wrong("sudo", "true or false")
    for key in ("key", "known_hosts"):
        path = fields.get(key)
        if isinstance(path, str) and path and not _path(path).is_file():
            wrong(key, "the path of a file that is there")
    groups = fields.get("groups", list(roles))
    if not isinstance(groups, list):
        wrong("groups", f"a list of {', '.join(roles)}")
    elif unknown := [str(group) for group in groups if group not in roles]:
        wrong("groups", f"a list of {', '.join(roles)}", closest(unknown[0], roles))
    data = fields.get("data", {})
    if isinstance(data, dict):
        if "hardware_profile" in fields and "hardware_profile" in data:
            wrong("hardware_profile", "said once, here or under data")
        problems += validate_overrides(data, PRODUCTION_FILE, f"{where}.data.")
    else:
        wrong("data", "keys and values")
    return problems


def _entry(name: str, fields: Mapping[str, Any], roles: tuple[str, ...]) -> HostEntry:
    data = dict(fields.get("data", {}))
    if "hardware_profile" in fields:
        data["hardware_profile"] = fields["hardware_profile"]
    key = fields.get("key")
    address, port, user = fields["address"], fields.get("port", 22), fields.get("user", "root")
    return HostEntry(
        name=name,
        address=address,
        port=port,
        user=user,
        key=str(_path(key)) if key else None,
        known_hosts=str(_path(fields.get("known_hosts", "~/.ssh/known_hosts"))),
        sudo=fields.get("sudo", False),
        groups=tuple(fields.get("groups", roles)),
        data=data,
        file=PRODUCTION_FILE,
        login=f"ssh {user}@{address}" + (f" -p {port}" if port != 22 else ""),
        next_step="the same run again changes nothing; make test rehearses the next change in the lab",
    )


def _path(path: str) -> Path:
    return yaml_files.expanded(path)


def _kind(value: object) -> str:
    """What a value is, without showing it: files get mixed up, and this one may be a file of secrets."""
    names = {dict: "a mapping", list: "a list", str: "text", type(None): "empty"}
    return names.get(type(value), f"a {type(value).__name__}")

"""Which hosts a run is for: the lab's machine, or those of production.yaml. Never both."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
)

from blueprint import yaml_files
from blueprint.group_data import ENVIRONMENTS, validate_overrides
from blueprint.model.types import Port
from blueprint.problems import DeclarationError, Violation, closest
from blueprint.validation import Expected, Matches, problems_of, shown, unexpected

ROOT = Path(__file__).resolve().parent.parent
VARIABLE = "SOURCEFAST_ENV"
LAB_FILE = ".lab/lab.json"
PRODUCTION_FILE = "production.yaml"

# Groups that pyinfra makes of its own accord: of every host, and of those of inventory.py.
_PYINFRAS_GROUPS = ("all", "inventory")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class HostEntry:
    """A host of the environment, and how it is reached.

    :param name: how it is called in the inventory
    :param address: where it is reached
    :param port: its SSH port there, which NAT may forward to another
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
        raise DeclarationError([Violation("environment variable", VARIABLE, shown(name), allowed, hint)])
    return name


def hosts(
    environment: str, roles: Sequence[str], root: Path = ROOT, *, profiles: Sequence[str] = ()
) -> list[HostEntry]:
    """The hosts of an environment.

    :param roles: groups that a host can be in; without `groups` it is in all of them
    :param profiles: groups of hardware profiles
    :raises DeclarationError: with everything that is wrong in the environment's file
    """
    reserved = (*_PYINFRAS_GROUPS, *ENVIRONMENTS, *roles, *profiles)
    described: dict[str, Callable[..., list[HostEntry]]] = {
        "lab": _lab,
        "production": partial(_production, reserved=reserved),
    }
    return described[environment](tuple(roles), root=root)


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
        problem = Violation(LAB_FILE, "the lab", "not there", "up", "run `make lab`")
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"unreadable ({type(error).__name__}: {error})"
        problem = Violation(
            LAB_FILE, "the lab's description", found, "what `make lab` writes", "run `make lab`"
        )
    raise DeclarationError([problem])


def _address(text: str) -> str:
    if not _HOST.fullmatch(text) or text.replace(".", "").isdigit():
        ip_address(text)
    return text


def _readable(path: str) -> str:
    expanded = yaml_files.expanded(path)
    if not os.access(expanded, os.R_OK) or not expanded.is_file():
        raise ValueError
    return str(expanded)


def _groups(groups: object, info: ValidationInfo) -> tuple[str, ...]:
    roles: tuple[str, ...] = info.context or ()
    unknown = [group for group in groups if group not in roles] if isinstance(groups, list) else []
    if not isinstance(groups, list) or not groups or unknown or len(set(groups)) < len(groups):
        expected = f"a list of {', '.join(roles)}: at least one, and each once"
        raise unexpected(expected, closest(str(unknown[0]), roles) if unknown else "")
    return tuple(groups)


ReadableFile = Annotated[str, AfterValidator(_readable), Expected("the path of a file that you can read")]


class _Document(BaseModel):
    """production.yaml."""

    model_config = ConfigDict(strict=True, extra="forbid")

    hosts: Annotated[dict[str, Any], Field(min_length=1), Expected("the hosts by their names")]


class _Entry(BaseModel):
    """A host of production.yaml; what it leaves out is as in `HostEntry`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    address: Annotated[
        str, AfterValidator(_address), Expected("a host name or an address, without user and port")
    ]
    port: Port = HostEntry.port
    user: Annotated[str, Matches("[A-Za-z_][A-Za-z0-9._-]*", "a user name")] = HostEntry.user
    key: ReadableFile = ""
    known_hosts: ReadableFile = HostEntry.known_hosts
    ssh_config: ReadableFile = ""
    sudo: bool = HostEntry.sudo
    groups: Annotated[tuple[str, ...], PlainValidator(_groups)] = ()
    hardware_profile: Annotated[str, Field(min_length=1), Expected("a hardware profile")] = ""
    data: dict[str, Any] = {}


def _production(roles: tuple[str, ...], reserved: Sequence[str], root: Path) -> list[HostEntry]:
    entries: dict[tuple[str, int], HostEntry] = {}
    problems: list[Violation] = []
    document = _production_document(root)
    try:
        _Document.model_validate(document)
    except ValidationError as error:
        problems += problems_of(error, of=_Document, file=PRODUCTION_FILE, show=yaml_files.kind)
    declared = document.get("hosts")
    for name, fields in declared.items() if isinstance(declared, dict) else ():
        try:
            entry = _entry(name, fields, roles, reserved)
        except DeclarationError as error:
            problems += error.problems
            continue
        other = entries.setdefault((entry.address, entry.port), entry)
        if other is not entry:
            expected = f"another than {other.name} has"
            problems.append(Violation(PRODUCTION_FILE, f"hosts.{name}.address", entry.address, expected))
    if problems:
        raise DeclarationError(problems)
    return list(entries.values())


def _production_document(root: Path) -> dict[str, Any]:
    try:
        return yaml_files.parse(yaml_files.read(root / PRODUCTION_FILE, PRODUCTION_FILE), PRODUCTION_FILE)
    except FileNotFoundError:
        remedy = "copy and fill it: production.example.yaml shows how it looks"
        raise DeclarationError(
            [Violation(PRODUCTION_FILE, "the file", "not there", "there", remedy)]
        ) from None


def _entry(name: str, fields: object, roles: tuple[str, ...], reserved: Sequence[str]) -> HostEntry:
    where = f"hosts.{name}"
    problems = list(_name_problems(name, reserved))
    if not isinstance(fields, dict):
        problem = Violation(PRODUCTION_FILE, where, yaml_files.kind(fields), "a mapping with address")
        raise DeclarationError([*problems, problem])
    try:
        entry = _Entry.model_validate(fields, context=roles)
    except ValidationError as error:
        problems += problems_of(error, of=_Entry, file=PRODUCTION_FILE, prefix=f"{where}.")
    data = fields.get("data")
    if isinstance(data, dict):
        if "hardware_profile" in fields and "hardware_profile" in data:
            found, expected = shown(fields["hardware_profile"]), "said once, here or under data"
            problems.append(Violation(PRODUCTION_FILE, f"{where}.hardware_profile", found, expected))
        problems += validate_overrides(data, PRODUCTION_FILE, f"{where}.data.")
    if problems:
        raise DeclarationError(problems)
    profile = {"hardware_profile": entry.hardware_profile} if entry.hardware_profile else {}
    options = f" -F {quote(entry.ssh_config)}" if entry.ssh_config else ""
    options += f" -i {quote(entry.key)}" if entry.key else ""
    options += f" -p {entry.port}" if entry.port != HostEntry.port else ""
    return HostEntry(
        name=name,
        address=entry.address,
        port=entry.port,
        user=entry.user,
        key=entry.key or None,
        known_hosts=str(yaml_files.expanded(entry.known_hosts)),
        ssh_config=entry.ssh_config or None,
        sudo=entry.sudo,
        groups=entry.groups or roles,
        data={**entry.data, **profile},
        file=PRODUCTION_FILE,
        login=f"ssh{options} {entry.user}@{entry.address}",
        next_step="the same run again changes nothing; make test rehearses the next change in the lab",
    )


def _name_problems(name: str, reserved: Sequence[str]) -> Iterator[Violation]:
    """A name that begins with @ is a connector of pyinfra's; that of a group would select this, too."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        expected = "letters, digits and ._-, beginning with a letter or digit"
        yield Violation(PRODUCTION_FILE, "the name of a host", shown(name), expected)
    elif name in reserved:
        yield Violation(
            PRODUCTION_FILE, "the name of a host", f"{name}, as a group is called", "one of its own"
        )

"""How the host that is checked is reached: the environment's own, as pyinfra reaches it, or the one of `--hosts`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blueprint import Blueprint, DeclarationError, Violation, environment, environment_name, group_data


@dataclass(frozen=True)
class Declared:
    """A host of the environment, and everything that is declared for it."""

    entry: environment.HostEntry
    blueprint: Blueprint


def declared_host(name: str = "") -> Declared:
    """The host of the environment that `SOURCEFAST_ENV` names, with its declarations.

    :param name: how it is called in the environment or on the network; may be left out, or another one such as an alias
        of OpenSSH, if the environment has one host only
    :raises DeclarationError: the declarations are wrong, or the name leaves several hosts
    """
    where = environment_name(os.environ)
    groups = group_data.read()
    entries = environment.hosts(where, groups.roles, profiles=groups.profiles)
    matching = [entry for entry in entries if name in (entry.name, entry.address)] or entries
    if len(matching) > 1:
        names = ", ".join(entry.name for entry in entries)
        raise DeclarationError([Violation("--hosts", "the host", name or "none", f"one of {names}")])
    (entry,) = matching
    return Declared(entry, groups.blueprint(where, group_data.Layer(entry.name, entry.file, entry.data)))


def host_spec(entry: environment.HostEntry) -> str:
    """The host as testinfra takes it."""
    address = f"[{entry.address}]" if ":" in entry.address else entry.address
    return f"ssh://{entry.user}@{address}:{entry.port}"


def ssh_config(entry: environment.HostEntry, folder: Path) -> str:
    """OpenSSH's configuration for the host: all commands over one connection, and no key but the known one.

    :param folder: where the connection's socket is
    """
    options = {
        "IdentityFile": entry.key,
        "UserKnownHostsFile": entry.known_hosts,
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "LogLevel": "ERROR",  # no banner between the messages
        "ControlPath": str(folder / "connection"),
    }
    # OpenSSH takes a relative path for one of ~/.ssh.
    others = Path(entry.ssh_config or "~/.ssh/config").expanduser().absolute()
    include = [] if str(others) == os.devnull else ["Match all", f'    Include "{others}"']
    return "\n".join([f"Host {entry.address}", *_lines(options), *include, ""])


def _lines(options: dict[str, str | None]) -> Sequence[str]:
    return [f'    {key} "{value}"' for key, value in options.items() if value]

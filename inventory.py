"""The hosts of exactly one environment: the lab's machine, unless SOURCEFAST_ENV=production.

pyinfra reads this file before the rest of the project, and answers a mistake in group_data/ with a traceback. So all
declarations are checked here: one report has all problems, before any connection.

A host's groups are its roles (`gpu`), its hardware profile, and its environment (`lab` or `production`). pyinfra fixes
them before it applies `--data`, so `--data hardware_profile=i7_9700k` is read here, from the command line that click
has parsed: it puts the host into another group.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import click
from pyinfra.connectors.ssh import ConnectorData
from pyinfra_cli.util import parse_cli_arg

from blueprint import (
    DeclarationError,
    Violation,
    environment,
    group_data,
    render_problems,
    yaml_files,
)
from blueprint.problems import closest
from blueprint.validation import shown
from operations.jump_host import name_failures
from operations.transport import transport

_COMMAND_LINE = "--data"


def _option(name: str) -> Sequence[str]:
    """What stands after each `--<name>` of the command line."""
    context = click.get_current_context(silent=True)
    return (context.params.get(name) if context else None) or ()


def _unknown_limits(hosts: Sequence[str], groups: Iterable[str]) -> Iterator[Violation]:
    """pyinfra would connect to nobody, change nothing, and end well."""
    known = dict.fromkeys((*hosts, *groups, "all", "inventory"))
    for pattern in _option("limit"):
        if pattern not in known and not any(fnmatch(host, pattern) for host in hosts):
            expected = f"one of {', '.join(known)}"
            yield Violation("--limit", "a name", shown(pattern), expected, closest(pattern, known))


def _homeless(data: Mapping[str, Any]) -> Iterator[Violation]:
    """Paths below the home of a user who is unknown; pyinfra answers them with a traceback."""
    for key in ("ssh_key", "ssh_known_hosts_file"):
        if (path := str(data.get(key, ""))).startswith("~") and str(yaml_files.expanded(path)) == path:
            yield Violation(_COMMAND_LINE, key, shown(path), "the path of a file that you can read")


def _ssh(host: environment.HostEntry) -> dict[str, Any]:
    """Connection of pyinfra to a host."""
    connection = {
        "ssh_hostname": host.address,
        "ssh_port": host.port,
        "ssh_user": host.user,
        "ssh_key": host.key,
        "ssh_known_hosts_file": host.known_hosts,
        "ssh_strict_host_key_checking": "yes",
        "ssh_config_file": host.ssh_config,
        # It saves 44 ms a command, and drops what the login shell prints.
        "ssh_paramiko_connect_kwargs": {"transport_factory": transport},
        "_sudo": host.sudo,
    }
    return {key: value for key, value in connection.items() if value is not None}


def _report(host: environment.HostEntry) -> dict[str, str]:
    """Data of a host for phases/report.py."""
    return {"report_login": host.login, "report_next_step": host.next_step}


def _groups() -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Every group with its hosts, once all declarations are checked."""
    where = environment.environment_name(os.environ)
    declared = group_data.read()
    data = {key: parse_cli_arg(value) for key, _, value in (pair.partition("=") for pair in _option("data"))}
    overrides = {key: value for key, value in data.items() if key not in ConnectorData.__annotations__}
    problems = [*group_data.validate_overrides(overrides, _COMMAND_LINE), *_homeless(data)]
    hosts: list[environment.HostEntry] = []
    try:
        hosts = environment.hosts(where, declared.roles, profiles=declared.profiles)
    except DeclarationError as error:
        problems += error.problems
    if problems:
        raise DeclarationError(problems)
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for host in hosts:
        blueprint = declared.blueprint(
            where,
            group_data.Layer(host.name, host.file, host.data),
            group_data.Layer(_COMMAND_LINE, _COMMAND_LINE, overrides),
        )
        for group in (*host.groups, blueprint.hardware_profile, where):
            groups[group].append((host.name, {**host.data, **_ssh(host), **_report(host)}))
    problems += _unknown_limits([host.name for host in hosts], groups)
    if problems:
        raise DeclarationError(problems)
    return groups


name_failures()
try:
    globals().update(_groups())
except DeclarationError as _error:
    raise SystemExit(render_problems(_error.problems)) from None

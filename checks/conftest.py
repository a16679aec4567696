"""Options, markers and parameters of the checks: which host, which phases it has, and what is declared for these."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.backend.base import BaseBackend
from testinfra.host import Host

from blueprint import DeclarationError, backup, render_problems
from blueprint.applied import Applied
from blueprint.phases import LITELLM
from checks.connection import Declared, declared_host, host_spec, ssh_config
from checks.containers import stacks
from checks.server import Server
from phases import phases_of

SERVER = pytest.StashKey[Server]()
FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()

# The declarations that a check is repeated for, by the name of its argument. Their ids are their names.
EACH: dict[str, Callable[[Server], Iterable[Any]]] = {
    "gpu": lambda server: server.blueprint.gpus,
    "instance": lambda server: server.blueprint.ollama_instances,
    "job": lambda server: [job for job in server.blueprint.cron_jobs if job.phase in server.phases],
    "stack": stacks,
    "service": lambda server: [service for stack in stacks(server) for service in stack.services],
    "database": lambda server: server.applied.databases,
    "redis_index": lambda server: server.applied.redis_indexes,
    "model": lambda server: server.blueprint.gateway.models,
    "team": lambda server: server.applied.teams,
    "piece": lambda server: backup.all_pieces(server.applied) if LITELLM in server.phases else (),
    "monitor": lambda server: server.applied.monitors,
}


def pytest_configure(config: pytest.Config) -> None:
    """Reach a host of the environment as pyinfra does, unless `--hosts` has another way; ask which phases it has."""
    option = config.option
    named = (option.hosts or "").removeprefix("ssh://")
    if "," in named:
        raise pytest.UsageError("--hosts: found several, expected one: each has declarations of its own")
    try:
        declared = declared_host(BaseBackend.parse_hostspec(named.partition("?")[0]).name)
    except DeclarationError as error:
        raise pytest.UsageError(render_problems(error.problems)) from None
    folder = config.stash[FOLDER] = tempfile.TemporaryDirectory(prefix="checks-")
    if named in ("", declared.entry.name) and not option.ssh_config:
        path = Path(folder.name, "ssh_config")
        path.write_text(ssh_config(declared.entry, Path(folder.name)))
        option.hosts, option.ssh_config = host_spec(declared.entry), str(path)
        option.sudo = option.sudo or declared.entry.sudo
    elif "controlpath" not in named:
        option.hosts += f"{'&' if '?' in named else '?'}controlpath={folder.name}/connection"
    for phase in phases_of(declared.blueprint):
        config.addinivalue_line("markers", f"{phase.name}: of that phase")
    config.addinivalue_line("markers", "undeclared: the host has nothing of its kind")
    server = config.stash[SERVER] = Server(_host(option), declared.blueprint)
    try:
        server.phases  # noqa: B018 - asked before the first check, for one message if the host is not reached
    except pytest.fail.Exception as failed:
        raise pytest.UsageError(_reason(option, declared) or str(failed)) from None


def _host(option: argparse.Namespace, **more: Any) -> Host:
    return testinfra.get_host(
        option.hosts,
        ssh_config=option.ssh_config,
        ssh_identity_file=option.ssh_identity_file,
        sudo=option.sudo,
        **more,
    )


def _reason(option: argparse.Namespace, declared: Declared) -> str:
    """Why the host is not reached. While OpenSSH shares a connection, it hides what a jump host says."""
    try:
        Server(_host(option, controlpersist=0), declared.blueprint).run("true")
    except pytest.fail.Exception as failed:
        return str(failed)
    return ""


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what was written for the connection."""
    if folder := config.stash.get(FOLDER, None):
        folder.cleanup()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat a check for each declaration of its kind, in the phases that the host has."""
    for argument in EACH.keys() & set(metafunc.fixturenames):
        server = metafunc.config.stash[SERVER]
        declared = [
            pytest.param(each, id=_name(each), marks=_phase(server.applied, each))
            for each in EACH[argument](server)
        ]
        metafunc.parametrize(argument, declared or [pytest.param(None, marks=pytest.mark.undeclared)])


def _name(declaration: Any) -> str:
    if isinstance(declaration, str):
        return declaration
    for attribute in ("name", "usage", "uuid"):
        if name := getattr(declaration, attribute, None):
            return str(name)
    raise TypeError(f"{declaration!r} has no name")


def _phase(applied: Applied, declaration: Any) -> list[pytest.MarkDecorator]:
    """The mark of the phase that brings a declaration, where that is another than the module's."""
    phase = getattr(declaration, "phase", None) or next(
        (stack.phase for stack in applied.stacks if declaration in stack.services), None
    )
    return [getattr(pytest.mark, phase)] if phase else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to a phase that the host does not have."""
    server = config.stash[SERVER]
    absent = {phase.name for phase in phases_of(server.blueprint)} - server.phases | {"undeclared"}
    missing = {item for item in items if {mark.name for mark in item.iter_markers()} & absent}
    if missing:
        config.hook.pytest_deselected(items=list(missing))
        items[:] = [item for item in items if item not in missing]


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    """The host that is checked."""
    return pytestconfig.stash[SERVER]


@pytest.fixture(scope="session")
def applied(server: Server) -> Applied:
    """What is declared for the phases that it has."""
    return server.applied

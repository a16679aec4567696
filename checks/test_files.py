"""Modes, owners and contents of what is ours on the disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blueprint import backup, contents, watch
from blueprint.alert import telegram_file
from blueprint.applied import Applied
from blueprint.model import CronJob, Stack
from blueprint.phases import LITELLM, MONITORING
from blueprint.stacks import environment_path, outline
from checks.containers import stacks
from checks.expect import expect
from checks.server import Server
from checks.system import system
from facts.files import TreeState
from facts.stacks import Stacks

pytestmark = pytest.mark.hardware


def test_private_folders_are_root_s_alone(server: Server) -> None:
    """Only root looks into the folders with secrets, state and stacks."""
    paths = server.blueprint.paths
    folders = (paths.config, paths.state, paths.stacks, paths.locks)
    found = system(server)["files"]
    states = {path: (found.get(path, {}).get("mode"), found.get(path, {}).get("owner")) for path in folders}
    expect("folders", states, dict.fromkeys(folders, ("0700", "root")), "run the deploy again")


@pytest.mark.parametrize("folder", ["config", "state", "stacks", "scripts", "ollama_env"])
def test_nobody_else_writes_there(server: Server, folder: str) -> None:
    """Nothing of ours can be written by a group or by everybody: root runs and reads it."""
    path = getattr(server.blueprint.paths, folder)
    open_ = {
        name: one["mode"]
        for name, one in system(server)["files"].items()
        if (name == path or name.startswith(f"{path}/"))
        and one["kind"] != "l"
        and int(one["mode"], 8) & 0o022
    }
    expect(f"writable by others below {path}", open_, {}, "chmod go-w")


def test_files_with_secrets_are_private(server: Server) -> None:
    """Every file with a secret can be read by its owner alone, beside the folder around it that is root's."""
    expected = dict.fromkeys(secret_files(server), "0600")
    files = system(server)["files"]
    found = {path: files[path]["mode"] if path in files else "missing" for path in expected}
    expect("files with secrets", found, expected, "run the deploy again")


def secret_files(server: Server) -> Iterator[str]:
    """The files with secrets: logins, environment files, and what containers read."""
    paths, phases = server.blueprint.paths, server.phases
    yield telegram_file(paths)
    if LITELLM in phases:
        yield f"{paths.config}/{backup.CREDENTIALS}"
    if MONITORING in phases:
        yield f"{paths.config}/{watch.CREDENTIALS}"
        yield from (
            f"{paths.config}/heartbeats/{monitor.name}" for monitor in server.applied.monitors if monitor.push
        )
    for stack in stacks(server):
        for service in stack.services:
            yield environment_path(paths.stacks, stack, service)
            yield from (f"{paths.stacks}/{stack.name}/{file}" for file in service.files)


def test_no_run_left_anything_behind(server: Server) -> None:
    """No staging folder of an interrupted run lies beside the files: a run since then would have removed it."""
    left = [name for name in system(server)["files"] if ".pyinfra-tree." in name]
    expect("staging folders", left, [], "run the deploy again")


def test_cron_runs_the_job(server: Server, job: CronJob) -> None:
    """The job's file is as declared, and of the owner and mode that cron asks for: it skips others in silence."""
    path = f"/etc/cron.d/{job.name}"
    content = contents.cron(server.blueprint, job)
    found = system(server)["files"].get(path, {})
    state = (found.get("kind"), found.get("owner"), found.get("mode"), _text(server, path))
    expect(path, state, ("f", "root", "0644", content), "run the deploy again")


def test_stack_s_folder_has_its_files_only(server: Server, applied: Applied, stack: Stack) -> None:
    """The folder of a stack has the declared files: a stray one may be an old secret."""
    declared = outline(server.blueprint.paths.stacks, stack)
    folder = f"{server.blueprint.paths.stacks}/{stack.name}"
    tree: TreeState = server.fact(Stacks, root=server.blueprint.paths.stacks).tree
    # Beside them, marks of what a container has read again.
    found = frozenset(
        path for path in tree.entries if path.startswith(f"{folder}/") and "/.reloaded" not in path
    )
    expect(folder, found, declared.paths, "run the deploy again; remove what is nobody's")


def _text(server: Server, path: str) -> str:
    return server.run(f"cat {path}")

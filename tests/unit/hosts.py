"""Hosts for unit tests: one that answers as a test says, and this machine, through pyinfra."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import SimpleNamespace
from typing import Any

from pyinfra.api.facts import FactBase
from pyinfra.context import ctx_host, ctx_state

from tests.unit.paths import CHECKOUT


class InTurn(list[Any]):
    """Answers that a fact gives one after the other, and the last one for good."""


class ScriptedHost:
    """Answers facts from a table, and refuses a question that the test did not expect."""

    name = "scripted"
    print_prefix = ""

    def __init__(self, answers: dict[type[FactBase[Any]], Any]) -> None:
        self.answers = answers
        self.noops: list[str] = []
        self.logged: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.done: dict[str, Any] = {}

    def get_fact(self, fact: type[FactBase[Any]], **kwargs: Any) -> Any:
        if fact not in self.answers:
            raise AssertionError(f"unexpected fact {fact.__name__}({kwargs})")
        self.asked.append(kwargs)
        answer = self.answers[fact]
        if isinstance(answer, InTurn):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer

    def changed(self) -> None:
        """An operation has run something on it."""
        outcome = SimpleNamespace(is_complete=lambda: True, did_change=lambda: True, did_error=lambda: False)
        self.done[f"operation {len(self.done)}"] = SimpleNamespace(operation_meta=outcome)

    def noop(self, description: str) -> None:
        self.noops.append(description)

    def log(self, message: str, log_func: Callable[[str], Any] | None = None) -> None:
        self.logged.append(message)

    def log_styled(self, message: str, log_func: Callable[[str], Any] | None = None, **_: str) -> None:
        self.logged.append(message)


@contextmanager
def scripted_host(
    answers: dict[type[FactBase[Any]], Any], diff: bool = False, executing: bool = True
) -> Iterator[ScriptedHost]:
    """Run operations' inner functions against a table of answers."""
    host = ScriptedHost(answers)
    state = SimpleNamespace(config=SimpleNamespace(DIFF=diff), is_executing=executing, ops={host: host.done})
    with ctx_host.use(host), ctx_state.use(state):
        yield host


def commands(
    operation: Any, answers: dict[type[FactBase[Any]], Any], /, *args: Any, **kwargs: Any
) -> list[Any]:
    """The commands an operation yields for these answers."""
    with scripted_host(answers):
        generator: Generator[Any, None, None] = operation._inner(*args, **kwargs)
        return list(generator)


class _Server:
    """tests/unit/pyinfra_server.py, started when it is first needed."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("pyinfra_server.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self.process.communicate)  # the end of its input ends it

    def ask(self, **request: Any) -> int:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{json.dumps(request)}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@cache
def _server() -> _Server:
    return _Server()


def command_line(
    *arguments: str, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `pyinfra` with these arguments in a folder, as a user would; stdout and stderr together."""
    with NamedTemporaryFile("r", encoding="utf-8") as output:
        status = _server().ask(
            arguments=arguments, folder=str(folder), environment=dict(environment), output=output.name
        )
        return subprocess.CompletedProcess(arguments, status, output.read())


def pyinfra(deploy: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run a deploy file on this machine through `@local`.

    In the folder of the file: in that of the checkout, each run would read production's group_data first.
    """
    confirmed = () if "--dry" in flags else ("-y",)  # -y skips the comparison that --dry is asked for
    return command_line(
        *(*confirmed, *flags, "@local", str(deploy)),
        folder=deploy.parent,
        environment={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(CHECKOUT),
        },
    )

"""The shared form of a check: a state that is read after the run made it, and reported whole when wrong."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

from pyinfra import logger
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host, state

P = ParamSpec("P")


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be, told so that its reader can act on it."""

    what: str
    found: str
    wanted: str
    mend: str

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in (("found", self.found), ("wanted", self.wanted), ("mend", self.mend)):
            lines.append(f"    {label + ':':<8}" + text.replace("\n", "\n" + 12 * " "))
        return "\n".join(lines)


def report(title: str, problems: Iterable[Problem]) -> str:
    """All problems in one text, in their order, under a line that counts them."""
    found = list(problems)
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    return "\n".join([f"{title}: {count}", *(f"- {problem}" for problem in found)])


def check(predicate: Callable[P, Iterable[Problem]]) -> PyinfraOperation[P]:
    """Make an operation of a function that reads facts and returns the problems it finds.

    The function is called when the operation is executed, after everything before it has been done; never
    while a run is prepared, when the state it looks for may not be there yet. Without problems the operation
    is a no-op. Otherwise all of them are logged in one text and the host fails. That goes through a command
    that returns False and not through an exception: pyinfra shows an exception of an operation with a
    traceback of its own insides, in which the report would drown.

    :param predicate: takes the operation's arguments; reads facts of the current host, changes nothing
    """

    @wraps(predicate)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Generator[FunctionCommand, None, None]:
        if not state.is_executing:
            return
        if problems := list(predicate(*args, **kwargs)):
            yield failure(predicate.__name__.replace("_", " "), problems)
        else:
            host.noop("as it should be")

    return operation()(wrapped)


def failure(title: str, problems: Iterable[Problem]) -> FunctionCommand:
    """Command that logs a report of `problems` and fails the host; for operations that find some themselves."""
    return FunctionCommand(_fail, (report(title, problems),), {})


def _fail(state: State, host: Host, text: str) -> bool:
    """Log `text` as the host's error; False fails the operation. (pyinfra looks for the first two names.)"""
    host.log_styled(text, fg="red", log_func=logger.error)
    return False

"""The shared form of a check: it reads a state after the run has made it, and reports everything that is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from functools import wraps
from typing import ParamSpec, TypeVar

from pyinfra import logger
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host, state

from facts import cache
from specs.problems import Problem

P = ParamSpec("P")
T = TypeVar("T")

# A service that refuses or says nothing is asked again, as its clients would ask: a connection of the pooler may just
# have ended, a program may have lost its turn on a busy machine. For so many seconds, that many apart.
ANSWER_S, ASKED_AGAIN_S = 20, 2
_NAMED = 5  # of what is waited for


def report(title: str, problems: Iterable[Problem]) -> str:
    """One text of all problems, in their order, under a line that counts them."""
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


def poll(
    question: Callable[[], T],
    lacks: Callable[[T], Iterable[str]],
    seconds: float = ANSWER_S,
    every_s: float = ASKED_AGAIN_S,
) -> T:
    """The answer to a question, which is repeated for some time while the answer lacks something.

    :param question: asks the host; kept answers are forgotten before it is called again
    :param lacks: what an answer lacks, in a few words each; nothing where it is as it should be
    :param seconds: for how long it is asked again
    :param every_s: seconds between two questions
    """
    deadline, reported = time.monotonic() + seconds, list[str]()
    answer = question()
    while (missing := list(lacks(answer))) and time.monotonic() < deadline:
        if missing != reported:
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            host.log(f"waiting for {', '.join(missing[:_NAMED])}{more}")
            reported = missing
        time.sleep(every_s)
        cache.clear()
        answer = question()
    return answer


def polling(
    seconds: float = ANSWER_S, every_s: float = ASKED_AGAIN_S
) -> Callable[[Callable[P, Iterable[Problem]]], Callable[P, list[Problem]]]:
    """Make the function of a check repeat its question for some time before it reports a problem. Goes below `check`.

    :param seconds: for how long
    :param every_s: seconds between two questions
    """

    def decorate(predicate: Callable[P, Iterable[Problem]]) -> Callable[P, list[Problem]]:
        @wraps(predicate)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> list[Problem]:
            return poll(
                lambda: list(predicate(*args, **kwargs)),
                lambda problems: [problem.what for problem in problems],
                seconds,
                every_s,
            )

        return wrapped

    return decorate


def failure(title: str, problems: Iterable[Problem]) -> FunctionCommand:
    """Command that logs a report of `problems` and fails the host; for operations that find some themselves."""
    return FunctionCommand(_fail, (report(title, problems),), {})


def _fail(state: State, host: Host, text: str) -> bool:
    """Log `text` as the host's error; False fails the operation. (pyinfra looks for the first two names.)"""
    host.log_styled(text, fg="red", log_func=logger.error)
    return False

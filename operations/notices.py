"""Messages to a person in the middle of a run, which fail nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import wraps
from typing import ParamSpec

from pyinfra import logger
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

P = ParamSpec("P")


def notice(sentences: Callable[P, Iterable[str]]) -> PyinfraOperation[P]:
    """Make an operation of a function that reads facts and returns what a person should know.

    Like a check, the function is called when everything before it has been done. The operation changes nothing.

    :param sentences: takes the operation's arguments; reads facts of the current host, changes nothing
    """

    @wraps(sentences)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Generator[StringCommand, None, None]:
        if not state.is_executing:
            return
        messages = list(sentences(*args, **kwargs))
        for sentence in messages:
            host.log_styled(sentence, fg="yellow", log_func=logger.warning)
        host.noop("reported" if messages else "nothing to report")
        yield from ()

    return operation()(wrapped)


@notice
def notify(lines: Sequence[str]) -> Iterable[str]:
    """Log messages for the operator.

    + lines: one after the other
    """
    return lines

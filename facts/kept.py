"""Answers of a host that are kept while a run changes nothing on it.

pyinfra asks for a fact as often as operations do, though many of them ask the same: all stacks of a host, its Postgres.
Asking is what a run that changes nothing costs. `ask` keeps an answer until the next command that an operation runs on
the host, whatever that does. What is asked again within one operation, after it has changed something, is asked with
pyinfra's own `host.get_fact`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from pyinfra.api.facts import FactBase
from pyinfra.context import ctx_host, ctx_state

T = TypeVar("T")

# The answers of each host, with the number of changes before them.
_answers: WeakKeyDictionary[object, dict[object, tuple[int, Any]]] = WeakKeyDictionary()


def ask(fact: type[FactBase[T]], **arguments: Any) -> T:
    """What `host.get_fact` answers, or has answered since the last change of the host.

    :param fact: the question
    :param arguments: its arguments
    """
    host, state = ctx_host.get(), ctx_state.get()  # type: ignore[no-untyped-call] # pyinfra's `host` is a proxy
    kept = _answers.setdefault(host, {})
    # What was asked to prepare the run may be old by the time a person has agreed to it.
    key = (fact, state.is_executing, _frozen(arguments))
    changes = _changes(state.ops[host])
    if key not in kept or kept[key][0] != changes:
        kept[key] = changes, host.get_fact(fact, **arguments)
    answer: T = kept[key][1]
    return answer


def forget() -> None:
    """Drop the host's answers: what changes by itself is about to be asked again."""
    _answers.pop(ctx_host.get(), None)  # type: ignore[no-untyped-call] # likewise


def _changes(operations: Mapping[str, Any]) -> int:
    """How many operations have run something on the host so far, in vain or not."""
    done = [each.operation_meta for each in operations.values() if each.operation_meta.is_complete()]
    return sum(meta.did_change() or meta.did_error() for meta in done)


def _frozen(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple(sorted((key, _frozen(item)) for key, item in value.items()))
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(_frozen(item) for item in value)
    return value

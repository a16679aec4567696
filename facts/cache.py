"""A cache of facts: what a host answered, until the run changes something on it.

pyinfra asks for a fact each time an operation does, though many operations ask the same: all stacks of a host, its
Postgres. These questions are the cost of a run that changes nothing. `cached_fact` keeps an answer until the next
command that an operation runs on the host, whatever it does. An operation that asks again after its own change uses
pyinfra's `host.get_fact`.
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


def cached_fact(fact: type[FactBase[T]], **arguments: Any) -> T:
    """The answer of `host.get_fact`, asked again only after a change of the host.

    :param fact: the question
    :param arguments: its arguments
    """
    host, state = ctx_host.get(), ctx_state.get()  # type: ignore[no-untyped-call] # pyinfra's `host` is a proxy
    cached = _answers.setdefault(host, {})
    # What was asked to prepare the run may be old by the time a person has agreed to it.
    key = (fact, state.is_executing, _frozen(arguments))
    changes = _changes(state.ops[host])
    if key not in cached or cached[key][0] != changes:
        cached[key] = changes, host.get_fact(fact, **arguments)
    answer: T = cached[key][1]
    return answer


def clear() -> None:
    """Drop the host's answers, before something that changes by itself is asked again."""
    _answers.pop(ctx_host.get(), None)  # type: ignore[no-untyped-call] # likewise


def _changes(operations: Mapping[str, Any]) -> int:
    """The number of operations that have run a command on the host so far, also in vain."""
    done = [each.operation_meta for each in operations.values() if each.operation_meta.is_complete()]
    return sum(meta.did_change() or meta.did_error() for meta in done)


def _frozen(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple(sorted((key, _frozen(item)) for key, item in value.items()))
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(_frozen(item) for item in value)
    return value

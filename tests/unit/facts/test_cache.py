"""The cache of facts: a question is asked once, until something changes on the host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.context import ctx_host, ctx_state

from facts.cache import cached_fact
from facts.folder import Names
from facts.uptime_kuma import Kuma, login


class Host:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def get_fact(self, fact: Any, **arguments: Any) -> int:
        self.asked.append((fact, arguments))
        return len(self.asked)


def operation(changed: bool = False, failed: bool = False, complete: bool = True) -> Any:
    return SimpleNamespace(
        operation_meta=SimpleNamespace(
            is_complete=lambda: complete, did_change=lambda: changed, did_error=lambda: failed
        )
    )


@pytest.fixture
def host() -> Any:
    return Host()


def asked(host: Host, fact: Any = Names, executing: bool = True, done: Any = (), **arguments: Any) -> Any:
    """What is answered after these operations."""
    state = SimpleNamespace(is_executing=executing, ops={host: dict(enumerate(done))})
    with ctx_host.use(host), ctx_state.use(state):
        return cached_fact(fact, **arguments)


def test_the_same_is_asked_once_while_nothing_changes(host: Host) -> None:
    assert asked(host, folder="/a") == 1
    assert asked(host, folder="/a", done=[operation(), operation(complete=False)]) == 1
    assert asked(host, folder="/b") == 2
    assert asked(host, folder="/a") == 1
    assert asked(Host(), folder="/a") == 1, "another host's answer"


@pytest.mark.parametrize("outcome", [{"changed": True}, {"failed": True}])
def test_after_a_change_it_is_asked_again(host: Host, outcome: dict[str, bool]) -> None:
    assert asked(host, folder="/a") == 1
    done = [operation(), operation(**outcome)]
    assert asked(host, folder="/a", done=done) == 2
    assert asked(host, folder="/a", done=[*done, operation()]) == 2
    assert asked(host, folder="/a", done=[*done, operation(**outcome)]) == 3


def test_what_was_asked_before_the_person_agreed_is_asked_again(host: Host) -> None:
    assert asked(host, folder="/a", executing=False) == 1
    assert asked(host, folder="/a", executing=False) == 1
    assert asked(host, folder="/a", executing=True) == 2


def test_lists_and_logins_that_look_alike_are_distinguished(host: Host) -> None:
    first = asked(host, Kuma, container="x", _stdin=[login("admin", "one")])
    assert asked(host, Kuma, container="x", _stdin=[login("admin", "two")]) != first
    assert asked(host, Kuma, container="x", _stdin=[login("admin", "one")]) == first

"""What a check reports: what was found, what was expected, and how to fix it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import NoReturn

import pytest

from specs.problems import Problem


def fail(problems: Iterable[Problem]) -> NoReturn:
    """End the check with a report of problems."""
    pytest.fail("\n".join(str(problem) for problem in problems), pytrace=False)


def no_problems(problems: Iterable[Problem]) -> None:
    """Fail if there are any."""
    if found := list(problems):
        fail(found)


def expect(what: str, found: object, expected: object, remedy: str) -> None:
    """Fail unless what was found is what was expected; of mappings and sets, only what differs is shown.

    :param what: where or what it is, "container web"
    :param found: never a secret
    :param remedy: what a person can do
    """
    if found != expected:
        fail([Problem(what, *_shown(found, expected), remedy)])


def _shown(found: object, expected: object) -> tuple[str, str]:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        keys = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
        one, other = (
            "\n".join(f"{key}: {each.get(key, 'missing')}" for key in keys) for each in (found, expected)
        )
        return one, other
    if isinstance(found, Set) and isinstance(expected, Set):
        return (
            f"too many: {_list(found - expected)}\nmissing: {_list(expected - found)}",
            f"these {len(expected)}: {_list(expected)}",
        )
    return str(found), str(expected)


def _list(values: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, values))) or "none"

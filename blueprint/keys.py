"""The keys of group_data/ and the types of their values: from what is given to a checked `Blueprint`."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from blueprint import host_problems
from blueprint.host import Blueprint
from blueprint.model import Declaration, Project
from blueprint.problems import DeclarationError, Violation, closest
from blueprint.validation import shown

KEYS: Mapping[str, Any] = {
    key: annotation
    for key, annotation in get_type_hints(Blueprint).items()
    if key not in ("projects", "sources")
}


def checked(data: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> Blueprint:
    """The declarations of a host, without a problem.

    :param data: all keys and their values, whatever group they come from
    :param sources: the file that each key comes from
    :raises DeclarationError: with all problems that can be seen at once
    """
    sources = sources or {}
    problems = [*unknown_keys(data, sources), *_missing_keys(data), *_wrong_types(data, sources)]
    if problems:
        raise DeclarationError(problems)
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in KEYS
    }
    found = (value for value in data.values() if isinstance(value, Project))
    projects = tuple(sorted(found, key=lambda project: project.number))
    blueprint = Blueprint(**values, projects=projects, sources=sources)
    if problems := host_problems.problems(blueprint):
        raise DeclarationError(problems)
    return blueprint


def plain_keys() -> list[str]:
    """Keys whose value can be written in production.yaml or after --data: no declarations."""
    return [key for key, annotation in KEYS.items() if not _has_declarations(annotation)]


def unknown_keys(data: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[Violation]:
    """A problem for each key that nothing reads, most likely a misspelt one; a project's is its own."""
    for key, value in data.items():
        if isinstance(value, Project):
            if key != value.phase:
                file = sources.get(key, "host data")
                yield Violation(
                    file, key, f"the project {value.name}", f"called {value.phase}, as its phase is"
                )
        elif key not in KEYS:
            yield Violation(
                sources.get(key, "host data"),
                key,
                "not a known key",
                "one that group_data/ documents",
                closest(key, KEYS),
            )


def wrong_type(key: str, value: object, file: str) -> Violation | None:
    """A problem where a value is of another kind than its key's."""
    if _conforms(value, KEYS[key]):
        return None
    return Violation(file, key, shown(value), _describe(KEYS[key]))


def _missing_keys(data: Mapping[str, Any]) -> Iterator[Violation]:
    for key in (key for key in KEYS if key not in data):
        yield Violation("group_data/", key, "missing", _describe(KEYS[key]))


def _wrong_types(data: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[Violation]:
    for key in (key for key in KEYS if key in data):
        if problem := wrong_type(key, data[key], sources.get(key, "host data")):
            yield problem


def _has_declarations(annotation: Any) -> bool:
    if arguments := get_args(annotation):
        return any(_has_declarations(argument) for argument in arguments if argument is not ...)
    return isinstance(annotation, type) and issubclass(annotation, Declaration)


def _conforms(value: object, annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is types.UnionType:
        return any(_conforms(value, alternative) for alternative in get_args(annotation))
    if origin is tuple:
        return isinstance(value, list | tuple) and all(
            _conforms(item, get_args(annotation)[0]) for item in value
        )
    if annotation is int:  # True and False are ints to Python, but no numbers to a reader
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation)


def _describe(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is types.UnionType:
        return " or ".join(_describe(alternative) for alternative in get_args(annotation))
    if origin is tuple:
        return f"a list of {_describe(get_args(annotation)[0])}"
    words = {int: "a whole number", str: "text", bool: "true or false"}
    return words.get(annotation, f"a {annotation.__name__}")

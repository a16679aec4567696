"""The keys of group_data/ with their types, and the checked `Blueprint` that is made of their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from blueprint import host_problems
from blueprint.host import Blueprint
from blueprint.model import Declaration, Project
from blueprint.problems import DeclarationError, Violation, closest
from blueprint.validation import problems_of, shown

KEYS: Mapping[str, Any] = {
    key: annotation
    for key, annotation in get_type_hints(Blueprint, include_extras=True).items()
    if key not in ("projects", "sources")
}
# Without what a type says beyond its kind: enough for the checks of what is declared together.
_BARE = get_type_hints(Blueprint)


def checked(data: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> Blueprint:
    """Make the blueprint of a host.

    :param data: all keys and their values, whatever group they come from
    :param sources: the file that each key comes from
    :raises DeclarationError: with all problems that can be found at once
    """
    sources = sources or {}
    problems = list(unknown_keys(data, sources))
    problems += [Violation("group_data/", key, "missing", "declared") for key in KEYS if key not in data]
    unusable = bool(problems)
    for key in (key for key in KEYS if key in data):
        if wrong := wrong_types(key, data[key], sources.get(key, "host data")):
            problems += wrong
            unusable = unusable or not _conforms(data[key], _BARE[key])
    if unusable:
        raise DeclarationError(problems)
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in KEYS
    }
    found = (value for value in data.values() if isinstance(value, Project))
    projects = tuple(sorted(found, key=lambda project: project.number))
    blueprint = Blueprint(**values, projects=projects, sources=sources)
    if problems := [*problems, *host_problems.problems(blueprint)]:
        raise DeclarationError(problems)
    return blueprint


def plain_keys() -> list[str]:
    """Keys whose value can be written in production.yaml or after --data: no declarations."""
    return [key for key, annotation in KEYS.items() if not _has_declarations(annotation)]


def unknown_keys(data: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[Violation]:
    """A violation for each key that nothing reads; a project's key is the name of its phase."""
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


def wrong_types(key: str, value: object, file: str, prefix: str = "") -> list[Violation]:
    """What is wrong with the value of a key.

    :param file: where it is from, for messages
    :param prefix: what stands before the key there
    """
    if get_origin(KEYS[key]) is tuple and not isinstance(value, list | tuple):
        return [Violation(file, prefix + key, shown(value), "a list")]
    try:
        _validate(value, KEYS[key])
    except ValidationError as error:
        return problems_of(error, file=file, prefix=prefix + key, show=_shown)
    return []


def _shown(value: object) -> str:
    """Declared lists become tuples before they are validated."""
    return shown(list(value) if isinstance(value, tuple) else value)


def _validate(value: object, annotation: Any) -> None:
    _adapter(annotation).validate_python(tuple(value) if isinstance(value, list) else value, strict=True)


def _conforms(value: object, annotation: Any) -> bool:
    try:
        _validate(value, annotation)
    except ValidationError:
        return False
    return True


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _has_declarations(annotation: Any) -> bool:
    if arguments := get_args(annotation):
        return any(map(_has_declarations, arguments))
    return isinstance(annotation, type) and issubclass(annotation, Declaration)

"""YAML as people write it: a key written twice is a mistake, not an override."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key that is written twice; PyYAML would silently take the last."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int):
            raise yaml.MarkedYAMLError(problem="a key that is no text", problem_mark=key_node.start_mark)
        if key in mapping:
            raise yaml.MarkedYAMLError(
                problem=f"the key {key} is there twice", problem_mark=key_node.start_mark
            )
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse(text: str | bytes) -> Any:
    """The document in a YAML text.

    :raises yaml.YAMLError: where it is none, or has a key twice in one mapping
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader


def where(error: yaml.YAMLError) -> str:
    """Place of an error, "line 3, column 5", without the text that is there: it may be a secret."""
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the text"

"""Pydantic's errors as problems that a person reads: key, found, expected, remedy."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError, core_schema

from blueprint.problems import Violation, closest

# What pydantic's own types expect, by the type of the error; our types say it themselves (`Expected`).
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a tuple, such as (1, 2) or (1,)",
    "list_type": "a list",
    "dict_type": "keys and values",
    "mapping_type": "keys and values",
    "dataclass_type": "{class_name}(…)",
    "dataclass_exact_type": "{class_name}(…)",
    "is_instance_of": "{class}(…)",
}
_MESSAGE = "expected {expected}"
_MISSING = frozenset({"missing", "missing_argument", "missing_keyword_only_argument"})
_UNKNOWN = frozenset({"unexpected_keyword_argument", "extra_forbidden"})


class Expected:
    """Metadata of an annotated type: it says in words what the type takes, in place of pydantic's own errors.

    :param words: what is expected, "a TCP port, 1 to 65535"
    :param remedy: what to do, where `words` does not say it
    """

    def __init__(self, words: str, remedy: str = "") -> None:
        self.words, self.remedy = words, remedy

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return self.of(handler(source))

    def of(self, schema: core_schema.CoreSchema) -> core_schema.CoreSchema:
        """A schema whose errors are these words."""
        context = {"expected": self.words, "remedy": self.remedy}
        return core_schema.custom_error_schema(
            schema, "expected", custom_error_message=_MESSAGE, custom_error_context=context
        )


class Matches(Expected):
    """Text that matches a pattern as a whole.

    :param pattern: in the syntax that Python and Rust share
    """

    def __init__(self, pattern: str, words: str, remedy: str = "") -> None:
        super().__init__(words, remedy)
        self.pattern = f"^(?:{pattern})$"

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return self.of(core_schema.str_schema(pattern=self.pattern, strict=True))


class Whole(Expected):
    """A whole number within bounds; True and False are none.

    :param unit: what is counted
    """

    def __init__(self, least: int, most: int, unit: str = "") -> None:
        super().__init__(f"a whole number from {least} to {most}" + (f" ({unit})" if unit else ""))
        self.least, self.most = least, most

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return self.of(core_schema.int_schema(ge=self.least, le=self.most, strict=True))


def unexpected(expected: str, remedy: str = "", *, found: str = "") -> PydanticCustomError:
    """What a validator raises.

    :param expected: what it would have accepted
    :param found: what it got, where that is more than the value
    """
    context = {"expected": expected, "remedy": remedy, "found": found}
    return PydanticCustomError("expected", _MESSAGE, context)


class _Short(reprlib.Repr):
    """Shows a value of any size and depth in a line."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 120, 200
        self.maxtuple = self.maxlist = self.maxdict = 8

    def repr_int(self, value: int, level: int) -> str:
        return super().repr_int(value, level) if value.bit_length() < 1000 else "a huge number"


shown = _Short().repr


def problems_of(
    error: ValidationError,
    *,
    of: type | None = None,
    file: str = "",
    prefix: str = "",
    show: Callable[[object], str] = shown,
) -> list[Violation]:
    """Everything that pydantic refused.

    :param of: class whose fields were validated; its fields are the hints for misspelt keys
    :param file: where the values are from, relative to the project
    :param prefix: what stands before their keys there, "hosts.x."
    :param show: how a value that was found is written, where it may be a secret
    """
    hints = get_type_hints(of, include_extras=True) if of else {}
    fields = {name: hint for name, hint in hints.items() if not name.startswith("_")}
    found = (_problem(details, fields, file, prefix, show) for details in error.errors(include_url=False))
    return list(dict.fromkeys(found))  # each alternative of a union says the same


def _problem(
    details: ErrorDetails,
    fields: Mapping[str, Any],
    file: str,
    prefix: str,
    show: Callable[[object], str],
) -> Violation:
    kind, context = details["type"], details.get("ctx", {})
    key = prefix + _path(details["loc"])
    if kind in _MISSING:
        return Violation(file, key, "missing", _words(fields.get(str(details["loc"][-1]))))
    if kind in _UNKNOWN:
        name = str(details["loc"][-1])
        expected = f"one of {', '.join(fields)}" if fields else "left out"
        return Violation(file, key, "not a known key", expected, closest(name, fields))
    expected = str(context.get("expected", "")) or _EXPECTED.get(kind, details["msg"]).format_map(context)
    if kind == "literal_error":
        options = expected.replace("'", "").replace(" or ", ", ")
        hint = closest(str(details["input"]), options.split(", "))
        return Violation(file, key, show(details["input"]), f"one of {options}", hint)
    found = str(context.get("found", "")) or show(details["input"])
    return Violation(file, key, found, expected, str(context.get("remedy", "")))


def _path(loc: tuple[int | str, ...]) -> str:
    """Where a value is: "services[0].env.PORT". A problem of a key is at that key."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc if part != "[key]")
    return "".join(parts).removeprefix(".")


def _words(annotation: Any) -> str:
    """What a type expects, where it says so itself."""
    metadata = getattr(annotation, "__metadata__", ())
    return next((one.words for one in reversed(metadata) if isinstance(one, Expected)), "set")

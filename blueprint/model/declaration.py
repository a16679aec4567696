"""What every declaration shares: it refuses nonsense when it is made, and can be shown."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import InitErrorDetails

from blueprint.problems import DeclarationError, Problem
from blueprint.validation import problems_of, shown, unexpected

_CONFIG = ConfigDict(strict=True, extra="forbid")
# What tells a declaration from others of its kind, in messages.
_IDENTITIES = ("name", "uuid", "index", "container", "table", "id")


class Declaration:
    """Base of all declarations."""

    def to_json(self) -> dict[str, Any]:
        """How `pyinfra inventory.py debug-inventory` shows it."""
        return dict(dataclasses.asdict(self))  # type: ignore[call-overload]  # each subclass is a dataclass


class Conflict(NamedTuple):
    """Values of one declaration that do not go together.

    :param key: the field that is blamed
    :param found: what it says
    :param expected: what it should say, in view of the others
    :param remedy: what to do, where `expected` does not say it
    """

    key: str
    found: object
    expected: str
    remedy: str = ""


Kind = TypeVar("Kind", bound=type[Declaration])
Made = TypeVar("Made", bound=Declaration)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def declaration(*, kw_only: bool = True) -> Callable[[Kind], Kind]:
    """A frozen dataclass of pydantic's that says everything that is wrong with it in one `DeclarationError`."""

    def decorate(kind: Kind) -> Kind:
        made: Any = dataclass(kind, frozen=True, kw_only=kw_only, config=_CONFIG)
        validate = made.__init__
        positional = [field.name for field in dataclasses.fields(made) if not field.kw_only]

        def init(self: Declaration, *args: object, **fields: object) -> None:
            fields = {**dict(zip(positional, args, strict=False)), **fields}
            try:
                validate(self, *args[len(positional) :], **fields)
            except ValidationError as error:
                prefix = f"{_called(kind, fields)}."
                raise DeclarationError(problems_of(error, of=made, prefix=prefix)) from None

        made.__init__ = init
        return cast(Kind, made)

    return decorate


def conflicts(method: Callable[[Made], Iterator[Conflict]]) -> Any:
    """A validator of fields that are sound by themselves: it refuses every conflict that `method` yields."""

    def check(self: Made) -> Made:
        errors: list[InitErrorDetails] = [
            {
                "type": unexpected(conflict.expected, conflict.remedy, found=shown(conflict.found)),
                "loc": (conflict.key,),
                "input": conflict.found,
            }
            for conflict in method(self)
        ]
        if errors:
            raise ValidationError.from_exception_data(type(self).__name__, errors)
        return self

    return model_validator(mode="after")(check)


def _called(kind: type[Declaration], fields: Mapping[str, object]) -> str:
    """How a declaration is called in messages: "OllamaInstance heavy"."""
    known = (shown(fields[key]).strip("'") for key in _IDENTITIES if key in fields)
    return f"{kind.__name__} {next(known, '')}".strip()


# --- OLD

NAME = re.compile(r"[a-z][a-z0-9_-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
MEMORY = re.compile(r"([1-9][0-9]*)([kmg])")
ABSOLUTE_PATH = re.compile(r"(/[A-Za-z0-9._@-]+)+")
IMAGE = re.compile(
    r"(?P<name>[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*?)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?P<digest>@sha256:[0-9a-f]{64})?"
)


class Check:
    """Collects what is wrong with one declaration."""

    def __init__(self, declared: str) -> None:
        self.declared = declared
        self.problems: list[Problem] = []

    def that(self, holds: object, key: str, found: object, expected: str, remedy: str = "") -> None:
        """A problem unless `holds`."""
        if not holds:
            self.problems.append(Problem("", f"{self.declared}.{key}", repr(found), expected, remedy))

    def integer(self, key: str, found: object, least: int, most: int, unit: str = "") -> None:
        """A whole number within bounds."""
        whole = isinstance(found, int) and not isinstance(found, bool)
        allowed = f"a whole number from {least} to {most}" + (f" ({unit})" if unit else "")
        self.that(whole and least <= found <= most, key, found, allowed)  # type: ignore[operator]  # whole is tested first

    def port(self, key: str, found: object) -> None:
        """A TCP port."""
        self.integer(key, found, 1, 65535, "a TCP port")

    def matches(self, key: str, found: object, pattern: re.Pattern[str], expected: str) -> None:
        """A text that is `expected` as a whole."""
        self.that(isinstance(found, str) and pattern.fullmatch(found), key, found, expected)

    def name(self, key: str, found: object) -> None:
        """A name that is safe wherever one is written."""
        self.matches(key, found, NAME, "lower-case letters, digits, - and _, beginning with a letter")

    def path(self, key: str, found: object) -> None:
        """An absolute path that needs no quotes."""
        self.matches(key, found, ABSOLUTE_PATH, "an absolute path of letters, digits and ._@-")

    def memory(self, key: str, found: object) -> None:
        """A memory size as Docker takes it."""
        self.matches(key, found, MEMORY, 'a number with its unit k, m or g, such as "512m" or "4g"')

    def sha256(self, key: str, found: object) -> None:
        """A checksum."""
        self.matches(key, found, SHA256, "64 lower-case hexadecimal digits")

    def one_of(self, key: str, found: object, allowed: Collection[str], remedy: str = "") -> None:
        """One of some values."""
        self.that(found in allowed, key, found, f"one of {', '.join(sorted(allowed))}", remedy)

    def image(self, key: str, found: object) -> None:
        """A pinned container image: `latest`, `latest-gpu` and no tag at all follow whatever is pushed next."""
        match = IMAGE.fullmatch(found) if isinstance(found, str) else None
        tag = match["tag"] if match else None
        pinned = match is not None and bool(match["digest"] or (tag and not re.match(r"latest(-|$)", tag)))
        self.that(pinned, key, found, "name:tag with a tag that stays the same, never latest")


@contextmanager
def checking(declared: str) -> Iterator[Check]:
    """Collect everything that is wrong with one declaration, then refuse it.

    :param declared: how the declaration is called in messages ("OllamaInstance heavy")
    :raises DeclarationError: with all problems
    """
    check = Check(declared)
    yield check
    if check.problems:
        raise DeclarationError(check.problems)


def mebibytes(memory: str) -> int:
    """MiB of a Docker memory size such as "512m" or "4g"."""
    match = MEMORY.fullmatch(memory)
    if match is None:
        raise ValueError(f"not a memory size: {memory!r}")
    return int(match[1]) * {"k": 1, "m": 1024, "g": 1024 * 1024}[match[2]] // 1024

"""What every declaration shares: it refuses nonsense when it is made, and can be shown."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from blueprint.problems import DeclarationError, Problem

NAME = re.compile(r"[a-z][a-z0-9_-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
MEMORY = re.compile(r"([1-9][0-9]*)([kmg])")
ABSOLUTE_PATH = re.compile(r"(/[A-Za-z0-9._@-]+)+")
IMAGE = re.compile(
    r"(?P<name>[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*?)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?P<digest>@sha256:[0-9a-f]{64})?"
)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """Base of all declarations."""

    def to_json(self) -> dict[str, Any]:
        """How `pyinfra inventory.py debug-inventory` shows it."""
        return asdict(self)


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

"""What every kind of source can do with a piece of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

Contents = dict[str, Any]


class Piece(Protocol):
    """Something that is saved by itself."""

    @property
    def name(self) -> str:
        """kind/where/what, the name of its folder in the store."""

    @property
    def min_bytes(self) -> int:
        """What a backup of it has at least."""

    @property
    def may_shrink(self) -> bool:
        """Whether it is in its nature to be much smaller from one day to the next."""

    def estimate(self) -> int:
        """About how many bytes it takes, where no backup of it says so."""

    def save(self, folder: Path) -> Contents:
        """Write it into an empty folder; what is in it, for the manifest. `lacks` names what should be in it.

        :raises ScriptError: it is not whole
        """

    def check(self, folder: Path, contents: Mapping[str, Any]) -> None:
        """Read it back to its last byte.

        :raises ScriptError: it cannot be read
        """

    def try_out(self, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        """Restore it where it hurts nobody; how the result differs from the manifest.

        :raises ScriptError: it cannot be restored
        """


def differences(what: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """In words, for counts by name."""
    return [
        f"{what} {name}: {found.get(name, 'missing')} instead of {expected.get(name, 'none')}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]

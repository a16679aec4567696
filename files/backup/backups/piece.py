"""What every kind of piece can do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

Contents = dict[str, Any]


class Piece(Protocol):
    """Data that is saved by itself."""

    @property
    def name(self) -> str:
        """kind/where/what, the name of its folder in the store."""

    @property
    def min_bytes(self) -> int:
        """Least size of a backup of it."""

    @property
    def may_shrink(self) -> bool:
        """Whether it may be much smaller from one day to the next."""

    def estimate(self) -> int:
        """About how many bytes a backup takes, for the first one."""

    def save(self, folder: Path) -> Contents:
        """Write it into an empty folder. Returns its contents for the manifest; their `lacks` names what is missing.

        :raises ScriptError: it is incomplete
        """

    def check(self, folder: Path, contents: Mapping[str, Any]) -> None:
        """Read it back to its last byte.

        :raises ScriptError: it cannot be read
        """

    def test(self, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        """Restore it into a scratch container. Returns how the result differs from the manifest.

        :raises ScriptError: it cannot be restored
        """


def differences(what: str, expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """The differences of counts by name, in words."""
    return [
        f"{what} {name}: {actual.get(name, 'missing')} instead of {expected.get(name, 'none')}"
        for name in sorted(expected.keys() | actual.keys())
        if expected.get(name) != actual.get(name)
    ]

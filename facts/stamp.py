"""The record of a step that is done once."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase


class Stamp(FactBase[str]):
    """The first line of a small file, empty where it is not there.

    :param path: absolute path
    """

    def command(self, path: str) -> StringCommand:
        """One look."""
        return StringCommand("head", "-n", "1", "--", QuoteString(path), "2>/dev/null", "||", "true")

    @staticmethod
    def default() -> str:
        """Nothing."""
        return ""

    def process(self, output: list[str]) -> str:
        """Its line."""
        return output[0].strip() if output else ""

"""What lies in a folder of a host."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase


class Names(FactBase[list[str]]):
    """Names of the files in a folder, in order; hidden ones are left out, a folder that is not there has none.

    :param folder: absolute path
    """

    def command(self, folder: str) -> StringCommand:
        """One listing."""
        return StringCommand("ls", "-1", "--", QuoteString(folder), "2>/dev/null", "||", "true")

    @staticmethod
    def default() -> list[str]:
        """Nothing."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """A name a line."""
        return sorted(line for line in output if line)

"""Buckets of an object storage that keeps each in a folder, as MinIO does on one drive."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase


class Buckets(FactBase[frozenset[str]]):
    """Names of the buckets there are; none where the container is not there. Needs no key: it looks at the folders.

    + container: its name
    + directory: where the server keeps its data, in the container
    """

    def command(self, container: str, directory: str) -> StringCommand:
        """One line for each folder; what MinIO keeps for itself begins with a dot."""
        listed = StringCommand("docker exec", QuoteString(container), "ls -1", QuoteString(directory))
        return StringCommand(listed, "2>/dev/null; true")

    @staticmethod
    def default() -> frozenset[str]:
        """None."""
        return frozenset()

    def process(self, output: list[str]) -> frozenset[str]:
        """Read the answer of `command`."""
        return frozenset(line.strip() for line in output if line.strip())

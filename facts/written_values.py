"""Contents of files of a host, as hashes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


class WrittenValues(FactBase[dict[tuple[str, str], str]]):
    """sha256 of each existing text, by its file and variable; a missing or empty one has none.

    :param places: absolute path and variable of an environment file, or an empty variable for the file's first line
    """

    def command(self, places: Sequence[tuple[str, str]]) -> StringCommand:
        """The script and its arguments."""
        return script.command("written-values.sh", *(word for place in places for word in place))

    @staticmethod
    def default() -> dict[tuple[str, str], str]:
        """Nothing."""
        return {}

    def process(self, output: Iterable[str]) -> dict[tuple[str, str], str]:
        """Read what files/facts/written-values.sh prints: hash, variable or -, and path of each."""
        found = {}
        for line in output:
            if line:
                digest, variable, path = line.split(" ", 2)
                found[path, "" if variable == "-" else variable] = digest
        return found

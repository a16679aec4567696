"""Variables of environment files, known by their names and by hashes of their values."""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


class Variables(FactBase[dict[str, dict[str, str]]]):
    """sha256 of each value as it is written, by file and by variable; a file that is missing is missing in the answer.

    :param paths: absolute paths of files that `env_file` of Compose names
    """

    def command(self, paths: Iterable[str]) -> StringCommand:
        """The script and its arguments."""
        return script.command("environment-files.sh", *paths)

    @staticmethod
    def default() -> dict[str, dict[str, str]]:
        """No file."""
        return {}

    def process(self, output: Iterable[str]) -> dict[str, dict[str, str]]:
        """Read what files/facts/environment-files.sh prints."""
        return {
            path: {name: digest for digest, _, name in (line.partition(" ") for line in lines if line)}
            for path, lines in script.sections(output)
        }

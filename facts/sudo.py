"""Whether the user of the session may become root."""

from __future__ import annotations

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase


class SudoRefusal(FactBase[str]):
    """Why sudo does not run a command without a password; "" where it does. Asked without sudo."""

    def command(self) -> StringCommand:
        """An answer in any case: after a failure with these words, pyinfra would ask for a password."""
        return StringCommand("sudo -n true 2>&1 || true")

    @staticmethod
    def default() -> str:
        """None."""
        return ""

    def process(self, output: list[str]) -> str:
        """Its last line: before it may stand a lecture."""
        return output[-1].strip()

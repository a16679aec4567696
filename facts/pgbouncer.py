"""PgBouncer, as its clients see it."""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script

# Where `Answers` has why nobody could be asked. No database has such a name.
REFUSAL = ""


class Answers(FactBase[dict[str, str]]):
    """The answer of each database to a client of the pooler that asks for its name: the name, or an error.

    What hindered the client itself, if anything did, is under `REFUSAL`.

    :param container: one with psql on the pooler's network
    :param host: of the pooler
    :param port: of the pooler
    :param user: role that asks
    :param passfile: file in the container with its password, as libpq reads it
    :param databases: whom to ask
    """

    def command(
        self, container: str, host: str, port: int, user: str, passfile: str, databases: Iterable[str]
    ) -> StringCommand:
        """The script and its arguments."""
        return script.command("pgbouncer.sh", container, host, port, user, passfile, *databases)

    @staticmethod
    def default() -> dict[str, str]:
        """Nobody answered."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Read the answer of `command`."""
        sections = {title: "\n".join(lines).strip() for title, lines in script.sections(output)}
        return {title.removeprefix("database").strip(): text for title, text in sections.items()}

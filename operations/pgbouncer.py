"""PgBouncer in front of a Postgres server. The caller writes its files and has it read them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from facts.cache import cached_fact
from facts.pgbouncer import REFUSAL, Answers
from operations.checks import check, polling
from specs.problems import Problem


@check
@polling()
def pgbouncer(
    container: str, host: str, port: int, user: str, passfile: str, databases: Sequence[str]
) -> Iterator[Problem]:
    """Every database answers through the pooler.

    + container: one with psql on the pooler's network
    + host, port: of the pooler
    + user: role that asks; it may connect to all of them
    + passfile: file in the container with its password, as libpq reads it
    + databases: whom to ask
    """
    answers = cached_fact(
        Answers, container=container, host=host, port=port, user=user, passfile=passfile, databases=databases
    )
    for database in databases:
        if answers.get(database) != database:
            yield Problem(
                f"database {database} through {host}:{port}",
                answers.get(database) or answers.get(REFUSAL) or "no answer, and no reason",
                "its name, as an answer to SELECT current_database()",
                f"docker logs --tail 20 {host} says whether it has read its files, and whom it refused",
            )

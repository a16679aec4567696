"""PgBouncer: its databases, pools and logins (requirements 5.3)."""

from __future__ import annotations

import pytest

from blueprint import postgres
from blueprint.model import Database
from blueprint.names import POOLER, POSTGRES
from checks.expect import expect
from checks.server import Server
from facts.pgbouncer import REFUSAL, Answers
from phases.monitoring import client_of_pooler

pytestmark = pytest.mark.monitoring

RELOAD = f"run --data phase=monitoring; docker logs --tail 20 {POOLER}"


def answers(server: Server) -> dict[str, str]:
    """The answer of each database through the pooler."""
    return server.fact(Answers, **client_of_pooler(server.blueprint, server.applied.databases))


@pytest.mark.monitoring
def test_database_answers_through_the_pooler(server: Server, database: Database) -> None:
    """A client of the pooler reaches the database, as the projects do."""
    names = [one.name for one in server.applied.databases]
    found = server.settled(
        lambda: answers(server), lambda all_: [name for name in names if all_.get(name) != name]
    )
    answer = found.get(database.name) or found.get(REFUSAL) or "no answer, and no reason"
    expect(f"{database.name} through {POOLER}", answer, database.name, RELOAD)


def test_pools_are_as_declared(server: Server) -> None:
    """The running pooler has every database with its pool: a file that it has not read is no limit."""
    client = f"psql -h {POOLER} -p {server.blueprint.pgbouncer.port} -U {postgres.MONITOR} --no-psqlrc --no-password"
    query = "--no-align --tuples-only --field-separator=, --command 'SHOW DATABASES' pgbouncer"
    command = f"docker exec -e PGPASSFILE={postgres.PASSFILE} {POSTGRES} {client} {query}"
    rows = (line.split(",") for line in server.run(command).splitlines() if line)
    found = {row[0]: (row[1], row[3], int(row[5])) for row in rows if row[0] != "pgbouncer"}
    host = server.blueprint.pgbouncer.host
    expected = {one.name: (host, one.name, one.pool) for one in server.applied.databases}
    expect("pools", found, expected, RELOAD)

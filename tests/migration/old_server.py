"""An old server: hand-made containers, with data in named volumes."""

from __future__ import annotations

from lab.machine import Machine

POSTGRES = "docker.io/postgis/postgis:16-3.4-alpine"
REDIS = "docker.io/library/redis:7-bookworm"
PASSWORD = "not-a-real-password"  # noqa: S105 - of containers in the lab

# The figures of requirements 12, phase 2: 59 tables, 126 widgets, 3 users.
AUGMENTER = """
CREATE EXTENSION vector;
CREATE TYPE plan AS ENUM ('free', 'pro');
CREATE TABLE "User" (id serial PRIMARY KEY, email text UNIQUE NOT NULL, plan plan NOT NULL, at timestamptz);
INSERT INTO "User" (email, plan, at)
VALUES ('zoé@example.org', 'pro', now()), ('Ed@example.org', 'free', now()), ('ed@example.org', 'free', NULL);
CREATE TABLE "Widget" (id bigserial PRIMARY KEY, "userId" int REFERENCES "User", body jsonb, embedding vector(1536));
INSERT INTO "Widget" ("userId", body, embedding)
SELECT 1 + i % 3, jsonb_build_object('name', 'widget ' || i, 'of', 'l''été'),
    (SELECT array_agg(sin(i * 1536 + j)) FROM generate_series(1, 1536) j)::vector FROM generate_series(1, 126) i;
CREATE INDEX ON "Widget" USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 128);
SELECT format('CREATE TABLE t%s (id serial PRIMARY KEY, v text); INSERT INTO t%s (v) VALUES (%L)', i, i, 'row of ' || i)
FROM generate_series(1, 57) i \\gexec
SELECT lo_from_bytea(0, 'a large object');
"""
NANGO = """
CREATE SCHEMA nango;
CREATE TABLE nango._nango_auth_migrations (id serial PRIMARY KEY, name text, batch int, migration_time timestamptz);
INSERT INTO nango._nango_auth_migrations (name, batch) SELECT i || '_step.js', 1 FROM generate_series(1, 40) i;
CREATE TABLE nango._nango_auth_migrations_lock (index serial PRIMARY KEY, is_locked int);
INSERT INTO nango._nango_auth_migrations_lock (is_locked) VALUES (1);
"""
POSTIZ = """
CREATE TABLE "Post" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), at timestamp);
INSERT INTO "Post" VALUES (DEFAULT, now());
"""


def postgres(machine: Machine, name: str, volume: str) -> None:
    """Start a Postgres of Alpine's with a superuser `augmenter`; returns when it takes connections."""
    start(
        machine,
        f"--name {name} --volume {volume}:/var/lib/postgresql/data --env POSTGRES_USER=augmenter "
        f"--env POSTGRES_PASSWORD={PASSWORD} {POSTGRES}",
    )
    # Over TCP: the server of the first start listens on its socket only.
    answers(machine, f"docker exec {name} pg_isready -q -h 127.0.0.1")


def redis(machine: Machine, name: str, volume: str) -> None:
    """Start a Redis as in requirements 6.2: a password for everybody, and an append-only file."""
    server = f"redis-server --requirepass {PASSWORD} --appendonly yes --save ''"
    start(machine, f"--name {name} --volume {volume}:/data {REDIS} {server}")
    answers(machine, f"docker exec -e REDISCLI_AUTH={PASSWORD} {name} redis-cli ping | grep -q PONG")


def start(machine: Machine, words: str) -> None:
    """Run a container that Docker starts again, on the network that all share."""
    machine.run(f"docker run --detach --restart unless-stopped --network coolify {words}", timeout=300)


def answers(machine: Machine, question: str) -> None:
    """Ask until there is an answer."""
    machine.run(f"for i in $(seq 600); do {question} && exit 0; sleep 0.5; done; exit 1", timeout=600)


def sql(machine: Machine, container: str, database: str, statements: str) -> list[str]:
    """Lines of an answer, asked as the container's superuser."""
    psql = f'psql -XqAt -v ON_ERROR_STOP=1 -U "${{POSTGRES_USER:-postgres}}" -d {database}'
    ask = f"docker exec -i {container} sh -c '{psql}'"
    return machine.run(ask, input=statements, timeout=600).stdout.splitlines()


def redis_cli(machine: Machine, container: str, *words: str) -> str:
    """What an old Redis says."""
    ask = f"docker exec -e REDISCLI_AUTH={PASSWORD} {container} redis-cli {' '.join(words)}"
    return machine.run(ask).stdout.strip()


def augmenter(machine: Machine) -> None:
    """The servers that augmenter.PRO had of its own, with its three databases."""
    postgres(machine, "augmenter-db", "augmenter_pgdata")
    sql(machine, "augmenter-db", "augmenter", "CREATE DATABASE nango; CREATE DATABASE postiz;")
    for database, statements in {"augmenter": AUGMENTER, "nango": NANGO, "postiz": POSTIZ}.items():
        sql(machine, "augmenter-db", database, statements)
    redis(machine, "augmenter-redis", "augmenter_redis")
    redis_cli(machine, "augmenter-redis", "RPUSH", "bull:mail:wait", "1", "2")

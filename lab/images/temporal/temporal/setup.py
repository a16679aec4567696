"""What auto-setup does before the server starts: wait for the stores, make databases, tables, template and index."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import psycopg
from psycopg import sql

DRIVERS = ("mysql8", "postgres12", "postgres12_pgx", "cassandra")
SCHEMA_VERSION = "1.11"
TIMEOUT_S = 5
WAIT_S = 1.0

# The tables of the real schema that operators meet, with the columns that name things; no workflow is ever in them.
TABLES = (
    "CREATE TABLE IF NOT EXISTS schema_version (version_partition integer, db_name varchar(255), creation_time"
    " timestamp, curr_version varchar(64),"
    " min_compatible_version varchar(64), PRIMARY KEY (version_partition, db_name))",
    "CREATE TABLE IF NOT EXISTS schema_update_history (version_partition integer, year integer, month integer,"
    " update_time timestamp, description varchar(255), manifest_md5 varchar(64), new_version varchar(64),"
    " old_version varchar(64), PRIMARY KEY (version_partition, year, month, update_time))",
    "CREATE TABLE IF NOT EXISTS namespaces (partition_id integer NOT NULL, id bytea NOT NULL, name varchar(255) UNIQUE"
    " NOT NULL, notification_version bigint NOT NULL, data bytea NOT NULL, data_encoding varchar(16) NOT NULL,"
    " is_global boolean NOT NULL, PRIMARY KEY (partition_id, id))",
    "CREATE TABLE IF NOT EXISTS cluster_metadata_info (metadata_partition integer NOT NULL, cluster_name varchar(255)"
    " NOT NULL, data bytea NOT NULL, data_encoding varchar(16) NOT NULL, version bigint NOT NULL,"
    " PRIMARY KEY (metadata_partition, cluster_name))",
    "CREATE TABLE IF NOT EXISTS shards (shard_id integer PRIMARY KEY, range_id bigint NOT NULL, data bytea NOT NULL,"
    " data_encoding varchar(16) NOT NULL)",
    "CREATE TABLE IF NOT EXISTS executions (shard_id integer, namespace_id bytea, workflow_id varchar(255), run_id"
    " bytea, next_event_id bigint NOT NULL, last_write_version bigint NOT NULL, data bytea NOT NULL,"
    " data_encoding varchar(16) NOT NULL, PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id))",
    "CREATE TABLE IF NOT EXISTS history_node (shard_id integer, tree_id bytea, branch_id bytea, node_id bigint, txn_id"
    " bigint, data bytea NOT NULL, data_encoding varchar(16) NOT NULL, prev_txn_id bigint NOT NULL DEFAULT 0,"
    " PRIMARY KEY (shard_id, tree_id, branch_id, node_id, txn_id))",
    "CREATE TABLE IF NOT EXISTS task_queues (range_hash bigint, task_queue_id bytea, range_id bigint NOT NULL,"
    " data bytea NOT NULL, data_encoding varchar(16) NOT NULL, PRIMARY KEY (range_hash, task_queue_id))",
)
PROPERTIES = ("NamespaceId", "WorkflowId", "RunId", "WorkflowType", "ExecutionStatus", "TaskQueue")
TEMPLATE = {
    "order": 0,
    "index_patterns": ["temporal_visibility_v1*"],
    "settings": {"index": {"number_of_shards": "1", "number_of_replicas": "0"}},
    "mappings": {
        "dynamic": "false",
        "properties": {name: {"type": "keyword"} for name in PROPERTIES},
    },
}
# Types of search attributes, by number, as Elasticsearch has them.
TYPES = {1: "text", 2: "keyword", 3: "long", 4: "scaled_float", 5: "boolean", 6: "date"}
CLUSTER_SETTINGS = {"persistent": {"action.auto_create_index": "false"}}


class SetupError(Exception):
    """What auto-setup says before it exits."""


@dataclass(frozen=True)
class Config:
    """The settings that the stand-in looks at."""

    host: str
    port: int
    user: str
    password: str
    database: str
    visibility: str
    elasticsearch: str | None
    index: str
    skip_schema: bool
    skip_create: bool
    namespace: str | None

    def url(self, database: str) -> str:
        """Of one of the databases."""
        user, password = quote(self.user, safe=""), quote(self.password, safe="")
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{quote(database, safe='')}"


def configure(environment: Mapping[str, str]) -> Config:
    """:raises SetupError: the real one would not go on with these settings"""

    def value(name: str, default: str = "") -> str:
        return environment.get(name) or default

    driver = value("DB", "cassandra")
    if driver not in DRIVERS:
        raise SetupError(
            f"Unsupported driver specified: 'DB={driver}'. Valid drivers are: {', '.join(DRIVERS)}."
        )
    if not driver.startswith("postgres"):
        raise SetupError(f"The stand-in knows Postgres only, not DB={driver}.")
    if not value("POSTGRES_SEEDS"):
        raise SetupError(f"POSTGRES_SEEDS env must be set if DB is {driver}.")
    elasticsearch = None
    if value("ENABLE_ES", "false") == "true":
        if not value("ES_SEEDS"):
            raise SetupError("ES_SEEDS env must be set if ENABLE_ES is true")
        seed = value("ES_SEEDS").split(",")[0]
        elasticsearch = f"{value('ES_SCHEME', 'http')}://{seed}:{value('ES_PORT', '9200')}"
    return Config(
        host=value("POSTGRES_SEEDS").split(",")[0],
        port=int(value("DB_PORT", "3306")),  # MySQL's, whatever the driver
        user=value("POSTGRES_USER"),
        password=value("POSTGRES_PWD"),
        database=value("DBNAME", "temporal"),
        visibility=value("VISIBILITY_DBNAME", "temporal_visibility"),
        elasticsearch=elasticsearch,
        index=value("ES_VIS_INDEX", "temporal_visibility_v1_dev"),
        skip_schema=value("SKIP_SCHEMA_SETUP", "false") == "true",
        skip_create=value("SKIP_DB_CREATE", "false") == "true",
        namespace=None
        if value("SKIP_DEFAULT_NAMESPACE_CREATION", "false") == "true"
        else value("DEFAULT_NAMESPACE", "default"),
    )


def prepare(config: Config, sleep: Callable[[float], None] = time.sleep) -> None:
    """Make everything that is not there yet, once the stores answer; waits for them as long as it takes.

    :raises SetupError: a store refuses
    """
    if not config.skip_schema:
        wait("PostgreSQL", lambda: _answers(config), sleep)
        own = config.database == config.user  # the container of Postgres has made that one
        make_database(config, config.database, create=not own and not config.skip_create)
        if config.elasticsearch is None:
            make_database(config, config.visibility, create=not config.skip_create)
    if config.elasticsearch:
        wait("Elasticsearch", lambda: _ask(f"{config.elasticsearch}/") is not None, sleep)
        make_index(config)


def wait(name: str, answers: Callable[[], bool], sleep: Callable[[float], None]) -> None:
    """Return once a store answers."""
    while not answers():
        say(f"Waiting for {name} to start up.")
        sleep(WAIT_S)
    say(f"{name} started.")


def make_database(config: Config, name: str, *, create: bool) -> None:
    """A database with its tables and the version of its schema."""
    try:
        if create:
            with psycopg.connect(
                config.url("postgres"), connect_timeout=TIMEOUT_S, autocommit=True
            ) as server:
                known = server.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone()
                if known is None:
                    server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with psycopg.connect(config.url(name), connect_timeout=TIMEOUT_S) as connection:
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_version VALUES (0, %s, now(), %s, %s) ON CONFLICT DO NOTHING",
                (name, SCHEMA_VERSION, SCHEMA_VERSION),
            )
    except psycopg.Error as error:
        raise SetupError(f"unable to set up the schema of {name}: {error}") from None


def make_index(config: Config) -> None:
    """The visibility index, from its template."""
    for path, body in (
        ("_cluster/settings", CLUSTER_SETTINGS),
        ("_template/temporal_visibility_v1_template", TEMPLATE),
    ):
        if _ask(f"{config.elasticsearch}/{path}", "PUT", body) is None:
            raise SetupError(f"Elasticsearch refuses PUT {path}")
    _ask(f"{config.elasticsearch}/{config.index}", "PUT")  # refused where it is there already
    if _ask(f"{config.elasticsearch}/{config.index}") is None:
        raise SetupError(f"Elasticsearch has no index {config.index}")


def search_attributes(config: Config) -> tuple[dict[str, int], dict[str, int]]:
    """Search attributes with their types: those that somebody added, and the server's own.

    :raises SetupError: Elasticsearch does not answer
    """
    answer = _ask(f"{config.elasticsearch}/{config.index}/_mapping")
    if not isinstance(answer, dict):
        raise SetupError("Elasticsearch does not say its mapping")
    numbers = {name: number for number, name in TYPES.items()}
    mapped = answer[config.index]["mappings"]["properties"]
    found = {name: numbers[entry["type"]] for name, entry in mapped.items()}
    own = {name: number for name, number in found.items() if name in PROPERTIES}
    return {name: number for name, number in found.items() if name not in own}, own


def add_search_attributes(config: Config, attributes: Mapping[str, int]) -> None:
    """:raises SetupError: Elasticsearch does not take them"""
    added = {name: {"type": TYPES[number]} for name, number in attributes.items()}
    if _ask(f"{config.elasticsearch}/{config.index}/_mapping", "PUT", {"properties": added}) is None:
        raise SetupError("Elasticsearch does not take the search attributes")


def register(config: Config, name: str) -> None:
    """A namespace, unless it is there."""
    with psycopg.connect(config.url(config.database), connect_timeout=TIMEOUT_S) as connection:
        connection.execute(
            "INSERT INTO namespaces VALUES (54321, %s, %s, 0, '', 'Proto3', false) ON CONFLICT DO NOTHING",
            (uuid.uuid4().bytes, name),
        )


def namespaces(config: Config) -> list[tuple[uuid.UUID, str]]:
    """The registered ones."""
    with psycopg.connect(config.url(config.database), connect_timeout=TIMEOUT_S) as connection:
        rows = connection.execute("SELECT id, name FROM namespaces ORDER BY name").fetchall()
    return [(uuid.UUID(bytes=bytes(number)), str(name)) for number, name in rows]


def say(text: str) -> None:
    """A line of the log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _answers(config: Config) -> bool:
    try:
        socket.create_connection((config.host, config.port), timeout=TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _ask(url: str, method: str = "GET", body: object = None) -> object | None:
    """The answer to a request, or None where there is none or it is refused."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - the address that the container was given
        url, data, {"Content-Type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return json.loads(answer.read())  # type: ignore[no-any-return] # whatever it is
    except (OSError, ValueError):
        return None

"""Databases and roles of a Postgres cluster, saved and restored by the programs of its own image."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from containers import Process, ScriptError, docker, inside, require_running, running

from backups import scratch
from backups.piece import Contents, differences
from backups.settings import Login, Postgres
from backups.store import compressed, decompressed, private

DUMP = "dump"
GLOBALS = "globals.sql.zst"
END_OF_ANSWER = "-- answered --"
# A client that locks a table delays the backup of all others by this long at most.
LOCK_TIMEOUT = "10min"
# Debian has some programs only in these folders, outside of PATH.
PROGRAMS = 'PATH="$PATH:$(echo /usr/lib/postgresql/*/bin | tr " " :)"'
SCRATCH = "/tmp/restore-test"  # noqa: S108 - in a container of our own
# Comment of a database that a restore may drop.
UNFINISHED = "of a restore that is not over"

DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1;"
SIZE = "SELECT pg_database_size(current_database());"
FACTS = """\
SELECT jsonb_build_object(
    'server', current_setting('server_version'), 'owner', pg_get_userbyid(datdba),
    'encoding', pg_encoding_to_char(encoding), 'collate', datcollate,
    'collation_version', to_jsonb(d) ->> 'datcollversion', 'bytes', pg_database_size(oid),
    'extensions', (SELECT jsonb_object_agg(extname, extversion) FROM pg_extension),
    'large_objects', (SELECT count(*) FROM pg_largeobject_metadata))
FROM pg_database d WHERE datname = current_database();
"""
# A dump leaves out the tables of an extension.
ROWS = """\
SELECT format('SELECT jsonb_build_array(%L, count(*)) FROM ONLY %I.%I;',
              nspname || '.' || relname, nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'm') AND relpersistence = 'p'
    AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY nspname, relname \\gexec
"""
# What the owner of a database has set for it does not hold for the superuser: a search_path that leads to functions of
# the owner, another role, a short timeout.
OPTIONS = "-c search_path=pg_catalog -c role=none -c statement_timeout=0 -c default_transaction_read_only=off"
# A table must not become a view of the owner between its listing and its reading, as for pg_dump (CVE-2024-7348).
TABLES_ONLY = """\
SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind';
"""
# How pg_dump begins each object in a script.
HEADER = re.compile(r"^--\n-- Name: (?P<name>.*?); Type: (?P<type>.*?); Schema: .*\n--\n", re.MULTILINE)


def undeclared(stacks: str, known: tuple[Postgres, ...]) -> list[str]:
    """Our containers that run Postgres and are in no backup. A declared one that was renamed is none of them."""
    names = {cluster.container for cluster in known}
    undeclared = []
    for container in running():
        name = container["Name"].removeprefix("/")
        labels = container["Config"].get("Labels") or {}
        ours = labels.get("com.docker.compose.project.working_dir", "").startswith(f"{stacks}/")
        variables = {variable.partition("=")[0] for variable in container["Config"]["Env"] or []}
        service = labels.get("com.docker.compose.service")
        if ours and not names & {name, service} and "PGDATA" in variables:
            undeclared.append(name)
    return undeclared


@dataclass(frozen=True)
class Server:
    """A container with a running Postgres, and a login. `socket`: folder of its socket, if not the default."""

    container: str
    login: Login
    socket: str = ""

    def command(self, program: str, *arguments: str) -> list[str]:
        """Arguments of docker for a client program."""
        host = [f"--host={self.socket}"] if self.socket else []
        words = [program, f"--username={self.login.user}", "--no-password", *host, *arguments]
        command = ["sh", "-c", f'{PROGRAMS} exec "$@"', "sh", *words]
        return inside(self.container, *command, user="postgres", secrets=self.secrets)

    @property
    def secrets(self) -> dict[str, str]:
        password = {"PGPASSWORD": self.login.password} if self.login.password else {}
        return {"PGOPTIONS": OPTIONS, **password}

    def psql(self, database: str) -> list[str]:
        return self.command("psql", "-XqAt", "--set=ON_ERROR_STOP=1", f"--dbname={database}")

    def query(self, sql: str, database: str = "postgres") -> list[str]:
        """Lines of a query's answer."""
        output = docker(*self.psql(database), data=sql.encode(), secrets=self.secrets, timeout_s=3600)
        return output.splitlines()

    def databases(self) -> list[str]:
        return self.query(DATABASES, "template1")

    def rows(self, database: str) -> dict[str, int]:
        """Exact number of rows by table."""
        return dict(json.loads(line) for line in self.query(ROWS, database))


class _Transaction:
    """A read-only transaction in which several queries see the same state."""

    def __init__(self, psql: subprocess.Popen[bytes]) -> None:
        if psql.stdin is None or psql.stdout is None:
            raise ValueError("psql has no pipes")
        self._to, self._from = psql.stdin, psql.stdout
        self.query(f"SET lock_timeout = '{LOCK_TIMEOUT}';")
        self.query(TABLES_ONLY)
        self.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;")

    def query(self, sql: str) -> list[str]:
        self._to.write(f"{sql}\n\\echo {END_OF_ANSWER}\n".encode())
        self._to.flush()
        lines: list[str] = []
        for line in self._from:
            text = line.decode().rstrip("\n")
            if text == END_OF_ANSWER:
                return lines
            lines.append(text)
        raise BrokenPipeError  # psql ended, and its context manager reports why


@dataclass(frozen=True)
class Database:
    """One database."""

    cluster: Postgres
    database: str

    @property
    def name(self) -> str:
        return f"postgres/{self.cluster.container}/{self.database}"

    @property
    def min_bytes(self) -> int:
        return self.cluster.min_kib.get(self.database, 0) * 1024

    may_shrink = False

    @property
    def _server(self) -> Server:
        return Server(self.cluster.container, self.cluster.login)

    def estimate(self) -> int:
        return int(self._server.query(SIZE, self.database)[0])

    def save(self, folder: Path) -> Contents:
        """Dump and counts use the same snapshot."""
        server = self._server
        with Process(server.psql(self.database), stdin=subprocess.PIPE, secrets=server.secrets) as psql:
            transaction = _Transaction(psql)
            (snapshot,) = transaction.query("SELECT pg_export_snapshot();")
            limits = (f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_TIMEOUT}")
            dump = server.command("pg_dump", "--format=custom", *limits, f"--dbname={self.database}")
            with private(folder / DUMP) as file, Process(dump, stdout=file, secrets=server.secrets):
                pass
            contents: Contents = json.loads(transaction.query(FACTS)[0])
            contents["rows"] = dict(json.loads(line) for line in transaction.query(ROWS))
        return contents

    def check(self, folder: Path, contents: Mapping[str, Any]) -> None:
        """Every block is decompressed, not only the table of contents read."""
        _read_dump(self._server, folder, subprocess.DEVNULL, "--file=/dev/null")

    def test(self, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        with cluster_like(self.cluster.container) as server:
            return self.test_in(server, folder, contents)

    def test_in(self, server: Server, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        """Restore into a scratch cluster that has the roles, and compare."""
        exists = self.database in server.databases()
        create = ["--dbname", self.database] if exists else ["--create", "--dbname", "postgres"]
        _read_dump(server, folder, subprocess.DEVNULL, "--exit-on-error", *create)
        deviations = differences("table", contents["rows"], server.rows(self.database))
        facts = json.loads(server.query(FACTS, self.database)[0])
        for key in ("owner", "encoding", "collate", "large_objects"):
            if facts[key] != contents[key]:
                deviations.append(f"{key}: {facts[key]} instead of {contents[key]}")
        if not exists:
            server.query(f"DROP DATABASE {quoted(self.database)};")  # room for the next one
        return deviations


@dataclass(frozen=True)
class Globals:
    """Roles, their SCRAM verifiers and memberships. A verifier is as secret as a password, so the files are private."""

    cluster: Postgres
    min_bytes = 0
    may_shrink = False

    @property
    def name(self) -> str:
        return f"postgres/{self.cluster.container}/_globals"

    def estimate(self) -> int:
        return 1024 * 1024

    def save(self, folder: Path) -> Contents:
        server = Server(self.cluster.container, self.cluster.login)
        with compressed(folder / GLOBALS) as file:
            dump = server.command("pg_dumpall", "--globals-only", "--database=template1")
            file.write(docker(*dump, secrets=server.secrets).encode())
        return {"roles": server.query("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1;")}

    def check(self, folder: Path, contents: Mapping[str, Any]) -> None:
        sql = self._sql(folder)
        for role in contents["roles"]:
            if not re.search(rf'^CREATE ROLE "?{re.escape(role)}"?;$', sql, re.MULTILINE):
                raise ScriptError(f"role {role} is not in it")

    def test(self, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        with cluster_like(self.cluster.container) as server:
            return self.test_in(server, folder, contents)

    def test_in(self, server: Server, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        existing = server.query("SELECT rolname FROM pg_roles;")
        # The scratch cluster has a superuser of its own.
        sql = re.sub(
            r'^CREATE ROLE "?([^";]+)"?;$',
            lambda match: "" if match[1] in existing else match[0],
            self._sql(folder),
            flags=re.MULTILINE,
        )
        server.query(sql)
        roles = server.query("SELECT rolname FROM pg_roles;")
        return [f"role {role} is missing" for role in contents["roles"] if role not in roles]

    @staticmethod
    def _sql(folder: Path) -> str:
        with decompressed(folder / GLOBALS) as file:
            return file.read().decode()


def _read_dump(server: Server, folder: Path, stdout: int | IO[bytes], *arguments: str) -> None:
    restore = server.command("pg_restore", *arguments)
    with (
        (folder / DUMP).open("rb") as dump,
        Process(restore, stdin=dump.fileno(), stdout=stdout, secrets=server.secrets),
    ):
        pass


@contextmanager
def cluster_like(container: str) -> Iterator[Server]:
    """An empty cluster from the same image, without a network, which is removed afterwards."""
    with scratch.idle(container) as name:
        start = (
            f"{PROGRAMS}; mkdir {SCRATCH} && initdb --pgdata={SCRATCH}/data --username=postgres --auth=trust"
            f" --encoding=UTF8 --no-sync && pg_ctl start --wait --silent --pgdata={SCRATCH}/data"
            f" --log={SCRATCH}/log --options='-c listen_addresses= -c unix_socket_directories={SCRATCH}"
            " -c fsync=off -c full_page_writes=off -c shared_buffers=64MB'"
        )
        docker(*inside(name, "sh", "-c", start, user="postgres"), timeout_s=120)
        yield Server(name, Login("postgres", ""), SCRATCH)


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def restore(database: Database, folder: Path, contents: Mapping[str, Any]) -> None:
    """Replace a database by its backup, in one transaction, after the restored tables have been compared.

    It is restored beside the present database under another name. The two are exchanged only when all tables have the
    expected numbers of rows; until then nothing has changed. A database that already has one of the names needed for
    this is dropped only if a killed restore left it.

    :raises ScriptError: it could not be restored, and nothing has changed
    """
    server = Server(database.cluster.container, database.cluster.login)
    require_running(database.cluster.container)
    name, aside, before = database.database, f"{database.database}_restored", f"{database.database}_replaced"
    roles = server.query("SELECT rolname FROM pg_roles;")
    if contents["owner"] not in roles:
        raise ScriptError(
            f"its owner {contents['owner']} is no role of the cluster: deploy first, then restore"
        )
    for unfinished in (aside, before):
        _drop_unfinished(server, unfinished)
    create, properties = _about_database(server, folder, name)
    create = create.replace(f"CREATE DATABASE {_as_dumped(name)} ", f"CREATE DATABASE {quoted(aside)} ", 1)
    try:
        server.query(f"{create}\nCOMMENT ON DATABASE {quoted(aside)} IS {literal(UNFINISHED)};")
        # Nobody else can connect before it is complete.
        server.query(f"ALTER DATABASE {quoted(aside)} CONNECTION LIMIT 0;")
        server.query(f"ALTER DATABASE {quoted(aside)} OWNER TO {quoted(contents['owner'])};")
        _read_dump(server, folder, subprocess.DEVNULL, "--exit-on-error", "--dbname", aside)
        if deviations := differences("table", contents["rows"], server.rows(aside)):
            raise ScriptError("; ".join(deviations))
        exists = name in server.databases()
        if exists:
            server.query(f"ALTER DATABASE {quoted(name)} ALLOW_CONNECTIONS false;")
        try:
            server.query(_exchange(name, aside, before, exists, properties))
        except BaseException:  # clients must not stay locked out when this program is asked to end
            if exists:
                server.query(f"ALTER DATABASE {quoted(name)} ALLOW_CONNECTIONS true;")
            raise
    except ScriptError:
        _drop_unfinished(server, aside)
        raise
    _drop_unfinished(server, before)


def _drop_unfinished(server: Server, name: str) -> None:
    """:raises ScriptError: a database of that name exists that no restore made"""
    comment = "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database"
    if server.query(f"{comment} WHERE datname = {literal(name)};") not in ([], [UNFINISHED]):
        raise ScriptError(f"a database {name} exists that no restore made, and its name is needed: rename it")
    server.query(f"DROP DATABASE IF EXISTS {quoted(name)};")


def _exchange(name: str, aside: str, before: str, exists: bool, properties: str) -> str:
    set_aside = (
        f"""\
ALTER DATABASE {quoted(name)} RENAME TO {quoted(before)};
COMMENT ON DATABASE {quoted(before)} IS {literal(UNFINISHED)};"""
        if exists
        else ""
    )
    return f"""\
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname IN ({literal(name)}, {literal(aside)}) AND pid <> pg_backend_pid();
BEGIN;
{set_aside}
ALTER DATABASE {quoted(aside)} RENAME TO {quoted(name)};
COMMENT ON DATABASE {quoted(name)} IS NULL;
ALTER DATABASE {quoted(name)} CONNECTION LIMIT -1;
{properties}
COMMIT;
"""  # noqa: S608 - quoted


def _about_database(server: Server, folder: Path, name: str) -> tuple[str, str]:
    """The parts of a dump that create the database, and that set its settings and grants."""
    with tempfile.TemporaryFile() as file:
        _read_dump(server, folder, file, "--create", "--schema-only", "--file=-")
        file.seek(0)
        script = file.read().decode()
    headers = list(HEADER.finditer(script))
    ends = [*(header.start() for header in headers[1:]), len(script)]
    create = properties = ""
    for header, end in zip(headers, ends, strict=True):
        # psql's own commands are for scripts that continue in the new database.
        text = "".join(
            line for line in script[header.end() : end].splitlines(True) if not line.startswith("\\")
        )
        if header["type"] == "DATABASE":
            create = text.partition("ALTER DATABASE")[0]
        elif header["type"] == "DATABASE PROPERTIES" or header["name"] == f"DATABASE {_as_dumped(name)}":
            properties += text
    if not create:
        raise ScriptError("the dump does not create its database")
    return create, properties


def _as_dumped(name: str) -> str:
    """pg_dump quotes only names that need it."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quoted(name)

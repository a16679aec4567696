"""Databases and roles of a Postgres cluster, by the programs of its own image."""

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
MARK = "-- answered --"
# Nobody who has a table to himself keeps everything else from being saved for longer.
LOCK_TIMEOUT = "10min"
# Where Debian keeps the programs that it does not link into PATH.
PROGRAMS = 'PATH="$PATH:$(echo /usr/lib/postgresql/*/bin | tr " " :)"'
SCRATCH = "/tmp/restore-test"  # noqa: S108 - in a container of our own
# Comment of a database that a restore may drop.
OURS = "of a restore that is not over"

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
# Tables of an extension are its own business: a dump leaves them out.
ROWS = """\
SELECT format('SELECT jsonb_build_array(%L, count(*)) FROM ONLY %I.%I;',
              nspname || '.' || relname, nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'm') AND relpersistence = 'p'
    AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY nspname, relname \\gexec
"""
# What an owner set for his database does not hold for its superuser: a search_path that leads to functions of his own,
# another role, no time.
OPTIONS = "-c search_path=pg_catalog -c role=none -c statement_timeout=0 -c default_transaction_read_only=off"
# What is a table when it is listed is none of his views when it is read, as for pg_dump (CVE-2024-7348).
TABLES_ONLY = """\
SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind';
"""
# How pg_dump begins each object in a script.
HEADER = re.compile(r"^--\n-- Name: (?P<name>.*?); Type: (?P<type>.*?); Schema: .*\n--\n", re.MULTILINE)


def unknown(stacks: str, known: tuple[Postgres, ...]) -> list[str]:
    """Containers of ours that run Postgres and that nobody told the backup of; those that were only renamed are not."""
    names = {cluster.container for cluster in known}
    found = []
    for container in running():
        name = container["Name"].removeprefix("/")
        labels = container["Config"].get("Labels") or {}
        ours = labels.get("com.docker.compose.project.working_dir", "").startswith(f"{stacks}/")
        variables = {variable.partition("=")[0] for variable in container["Config"]["Env"] or []}
        service = labels.get("com.docker.compose.service")
        if ours and not names & {name, service} and "PGDATA" in variables:
            found.append(name)
    return found


@dataclass(frozen=True)
class Server:
    """A container with a running Postgres, and who asks it. `socket`: folder of its socket, if not the default."""

    container: str
    login: Login
    socket: str = ""

    def command(self, program: str, *arguments: str) -> list[str]:
        """Arguments of docker for a client program."""
        host = [f"--host={self.socket}"] if self.socket else []
        words = [program, f"--username={self.login.user}", "--no-password", *host, *arguments]
        found = ["sh", "-c", f'{PROGRAMS} exec "$@"', "sh", *words]
        return inside(self.container, *found, user="postgres", secrets=self.secrets)

    @property
    def secrets(self) -> dict[str, str]:
        password = {"PGPASSWORD": self.login.password} if self.login.password else {}
        return {"PGOPTIONS": OPTIONS, **password}

    def psql(self, database: str) -> list[str]:
        return self.command("psql", "-XqAt", "--set=ON_ERROR_STOP=1", f"--dbname={database}")

    def ask(self, sql: str, database: str = "postgres") -> list[str]:
        """Lines of a query's answer."""
        said = docker(*self.psql(database), data=sql.encode(), secrets=self.secrets, timeout_s=3600)
        return said.splitlines()

    def databases(self) -> list[str]:
        return self.ask(DATABASES, "template1")

    def rows(self, database: str) -> dict[str, int]:
        """Exact number of rows by table."""
        return dict(json.loads(line) for line in self.ask(ROWS, database))


class _Transaction:
    """A read-only transaction in which several questions see the same state."""

    def __init__(self, psql: subprocess.Popen[bytes]) -> None:
        if psql.stdin is None or psql.stdout is None:
            raise ValueError("psql has no pipes")
        self._to, self._from = psql.stdin, psql.stdout
        self.ask(f"SET lock_timeout = '{LOCK_TIMEOUT}';")
        self.ask(TABLES_ONLY)
        self.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;")

    def ask(self, sql: str) -> list[str]:
        self._to.write(f"{sql}\n\\echo {MARK}\n".encode())
        self._to.flush()
        lines: list[str] = []
        for line in self._from:
            text = line.decode().rstrip("\n")
            if text == MARK:
                return lines
            lines.append(text)
        raise BrokenPipeError  # psql ended, and its context says why


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
        return int(self._server.ask(SIZE, self.database)[0])

    def save(self, folder: Path) -> Contents:
        """The dump and the counts see the same snapshot."""
        server = self._server
        with Process(server.psql(self.database), stdin=subprocess.PIPE, secrets=server.secrets) as psql:
            transaction = _Transaction(psql)
            (snapshot,) = transaction.ask("SELECT pg_export_snapshot();")
            limits = (f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_TIMEOUT}")
            dump = server.command("pg_dump", "--format=custom", *limits, f"--dbname={self.database}")
            with private(folder / DUMP) as file, Process(dump, stdout=file, secrets=server.secrets):
                pass
            contents: Contents = json.loads(transaction.ask(FACTS)[0])
            contents["rows"] = dict(json.loads(line) for line in transaction.ask(ROWS))
        return contents

    def check(self, folder: Path, contents: Mapping[str, Any]) -> None:
        """Not only its table of contents: every block is decompressed."""
        _read_dump(self._server, folder, subprocess.DEVNULL, "--file=/dev/null")

    def try_out(self, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        with cluster_like(self.cluster.container) as server:
            return self.try_out_in(server, folder, contents)

    def try_out_in(self, server: Server, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        """In a scratch cluster that has the roles."""
        there = self.database in server.databases()
        create = ["--dbname", self.database] if there else ["--create", "--dbname", "postgres"]
        _read_dump(server, folder, subprocess.DEVNULL, "--exit-on-error", *create)
        found = differences("table", contents["rows"], server.rows(self.database))
        facts = json.loads(server.ask(FACTS, self.database)[0])
        for key in ("owner", "encoding", "collate", "large_objects"):
            if facts[key] != contents[key]:
                found.append(f"{key}: {facts[key]} instead of {contents[key]}")
        if not there:
            server.ask(f"DROP DATABASE {quoted(self.database)};")  # room for the next one
        return found


@dataclass(frozen=True)
class Globals:
    """Roles, their SCRAM verifiers and memberships. Verifiers are secrets as good as passwords: private files."""

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
        return {"roles": server.ask("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1;")}

    def check(self, folder: Path, contents: Mapping[str, Any]) -> None:
        sql = self._sql(folder)
        for role in contents["roles"]:
            if not re.search(rf'^CREATE ROLE "?{re.escape(role)}"?;$', sql, re.MULTILINE):
                raise ScriptError(f"role {role} is not in it")

    def try_out(self, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        with cluster_like(self.cluster.container) as server:
            return self.try_out_in(server, folder, contents)

    def try_out_in(self, server: Server, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        there = server.ask("SELECT rolname FROM pg_roles;")
        # The scratch cluster's own superuser is there before.
        sql = re.sub(
            r'^CREATE ROLE "?([^";]+)"?;$',
            lambda match: "" if match[1] in there else match[0],
            self._sql(folder),
            flags=re.MULTILINE,
        )
        server.ask(sql)
        roles = server.ask("SELECT rolname FROM pg_roles;")
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
    """An empty cluster of the same image, without a network, that forgets everything."""
    with scratch.idle(container) as name:
        begin = (
            f"{PROGRAMS}; mkdir {SCRATCH} && initdb --pgdata={SCRATCH}/data --username=postgres --auth=trust"
            f" --encoding=UTF8 --no-sync && pg_ctl start --wait --silent --pgdata={SCRATCH}/data"
            f" --log={SCRATCH}/log --options='-c listen_addresses= -c unix_socket_directories={SCRATCH}"
            " -c fsync=off -c full_page_writes=off -c shared_buffers=64MB'"
        )
        docker(*inside(name, "sh", "-c", begin, user="postgres"), timeout_s=120)
        yield Server(name, Login("postgres", ""), SCRATCH)


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def restore(database: Database, folder: Path, contents: Mapping[str, Any]) -> None:
    """Put a database in the place of the one that is there, in one moment, after everything has been compared.

    It is restored beside the other under a name of its own. Only when all tables have the rows that they should have
    are the two exchanged, in one transaction; until then nothing has happened. Of what has the names that this takes
    meanwhile, only what a restore left there that was killed is dropped.

    :raises ScriptError: it could not be restored, and everything is as it was
    """
    server = Server(database.cluster.container, database.cluster.login)
    require_running(database.cluster.container)
    name, aside, before = database.database, f"{database.database}_restored", f"{database.database}_replaced"
    roles = server.ask("SELECT rolname FROM pg_roles;")
    if contents["owner"] not in roles:
        raise ScriptError(
            f"its owner {contents['owner']} is no role of the cluster: deploy first, then restore"
        )
    for left in (aside, before):
        _drop_ours(server, left)
    create, properties = _about_database(server, folder, name)
    create = create.replace(f"CREATE DATABASE {_as_dumped(name)} ", f"CREATE DATABASE {quoted(aside)} ", 1)
    try:
        server.ask(f"{create}\nCOMMENT ON DATABASE {quoted(aside)} IS {literal(OURS)};")
        # Nobody but us, until it is whole.
        server.ask(f"ALTER DATABASE {quoted(aside)} CONNECTION LIMIT 0;")
        server.ask(f"ALTER DATABASE {quoted(aside)} OWNER TO {quoted(contents['owner'])};")
        _read_dump(server, folder, subprocess.DEVNULL, "--exit-on-error", "--dbname", aside)
        if found := differences("table", contents["rows"], server.rows(aside)):
            raise ScriptError("; ".join(found))
        there = name in server.databases()
        if there:
            server.ask(f"ALTER DATABASE {quoted(name)} ALLOW_CONNECTIONS false;")
        try:
            server.ask(_exchange(name, aside, before, there, properties))
        except BaseException:  # being asked to end is no reason to leave everybody shut out
            if there:
                server.ask(f"ALTER DATABASE {quoted(name)} ALLOW_CONNECTIONS true;")
            raise
    except ScriptError:
        _drop_ours(server, aside)
        raise
    _drop_ours(server, before)


def _drop_ours(server: Server, name: str) -> None:
    """:raises ScriptError: it is somebody else's"""
    comment = "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database"
    if server.ask(f"{comment} WHERE datname = {literal(name)};") not in ([], [OURS]):
        raise ScriptError(f"a database {name} is there, which no restore made; its name is wanted: rename it")
    server.ask(f"DROP DATABASE IF EXISTS {quoted(name)};")


def _exchange(name: str, aside: str, before: str, there: bool, properties: str) -> str:
    away = (
        f"""\
ALTER DATABASE {quoted(name)} RENAME TO {quoted(before)};
COMMENT ON DATABASE {quoted(before)} IS {literal(OURS)};"""
        if there
        else ""
    )
    return f"""\
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname IN ({literal(name)}, {literal(aside)}) AND pid <> pg_backend_pid();
BEGIN;
{away}
ALTER DATABASE {quoted(aside)} RENAME TO {quoted(name)};
COMMENT ON DATABASE {quoted(name)} IS NULL;
ALTER DATABASE {quoted(name)} CONNECTION LIMIT -1;
{properties}
COMMIT;
"""  # noqa: S608 - quoted


def _about_database(server: Server, folder: Path, name: str) -> tuple[str, str]:
    """What a dump says of the database itself: how it is made, and its settings and grants."""
    with tempfile.TemporaryFile() as file:
        _read_dump(server, folder, file, "--create", "--schema-only", "--file=-")
        file.seek(0)
        script = file.read().decode()
    found = list(HEADER.finditer(script))
    ends = [*(header.start() for header in found[1:]), len(script)]
    create = properties = ""
    for header, end in zip(found, ends, strict=True):
        # psql's own commands among them are for scripts that go on in the new database.
        text = "".join(
            line for line in script[header.end() : end].splitlines(True) if not line.startswith("\\")
        )
        if header["type"] == "DATABASE":
            create = text.partition("ALTER DATABASE")[0]
        elif header["type"] == "DATABASE PROPERTIES" or header["name"] == f"DATABASE {_as_dumped(name)}":
            properties += text
    if not create:
        raise ScriptError("the dump does not say how its database is made")
    return create, properties


def _as_dumped(name: str) -> str:
    """pg_dump quotes only names that need it."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quoted(name)

"""Real clients of the servers that keep data, through SSH forwards, with the passwords of the secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import redis
import yaml

from blueprint.model.datastores import Database, RedisIndex
from blueprint.secrets import Secrets
from lab.machine import Machine
from lab.paths import CHECKOUT

POSTGRES, POOLER, REDIS = ("shared-postgres", 5432), ("pgbouncer", 6432), ("shared-redis", 6379)
SECRETS = CHECKOUT / "secrets" / "lab.yaml"


class Datastores:
    """Logins to each server, with and without a password.

    :param databases: all databases of the lab's server
    :param indexes: the table of Redis' indexes
    """

    def __init__(
        self,
        machine: Machine,
        forward: Callable[[str, int], int],
        databases: Sequence[Database],
        indexes: Sequence[RedisIndex],
    ) -> None:
        self.machine = machine
        self.databases = databases
        self.indexes = indexes
        self._forward = forward
        self._ports: dict[tuple[str, int], int] = {}

    def password(self, name: str) -> str:
        """A generated password, "postgres/litellm"."""
        return Secrets.open("lab", CHECKOUT / "secrets").provided(name)

    @contextmanager
    def rotated(self, name: str) -> Iterator[None]:
        """The secret is forgotten, so that the next run makes a new one."""
        values = yaml.safe_load(SECRETS.read_text())
        server, _, user = name.partition("/")
        del values[server][user]
        SECRETS.write_text(yaml.safe_dump(values))
        yield

    def connect(
        self,
        database: str,
        role: str,
        password: str | None = None,
        server: tuple[str, int] = POSTGRES,
        **options: Any,
    ) -> psycopg.Connection[Any]:
        """A role's connection to a database, by default with its own password."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port(server),
            dbname=database,
            user=role,
            password=self.password(f"postgres/{role}") if password is None else password,
            connect_timeout=60,
            autocommit=True,
            **options,
        )

    def redis(self, user: str | None, index: int = 0, password: str | None = None) -> Any:
        """A user's client of an index; without a user, one that does not log in. Index 0 is never selected.

        (Any, because half of redis-py's commands have no types.)
        """
        if user is not None and password is None:
            password = self.password(f"redis/{user}")
        return redis.Redis(
            host="127.0.0.1",
            port=self.port(REDIS),
            db=index,
            username=user,
            password=password,
            socket_timeout=60,
            decode_responses=True,
        )

    def sql(self, database: str, statements: str) -> str:
        """The superuser's answer on the local socket, as for a person with root."""
        psql = f"docker exec -i shared-postgres psql -XqAt -v ON_ERROR_STOP=1 -d {database}"
        return self.machine.run(f"{psql} <<'SQL'\n{statements}\nSQL").stdout.strip()

    def inspect(self, container: str, template: str) -> str:
        """A fact of a container, by a template of `docker inspect`."""
        return self.machine.run(f"docker inspect --format '{template}' {container}").stdout.strip()

    def port(self, server: tuple[str, int]) -> int:
        """The local end of a forward to a container's port."""
        if server not in self._ports:
            every = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
            address = self.inspect(server[0], every).split()[0]
            self._ports[server] = self._forward(address, server[1])
        return self._ports[server]

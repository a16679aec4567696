"""Problems of stacks, databases and Redis indexes together, where each declaration by itself is valid."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from blueprint import redis
from blueprint.model import Database, Gateway, PgBouncer, RedisIndex, Service, Stack
from blueprint.names import KUMA, LANGFUSE, MINIO, POOLER, POSTGRES, REDIS
from blueprint.phases import MONITORING
from blueprint.problems import Violation, closest
from blueprint.stacks import volume

# An address of a database or of an index of Redis, in the environment of a container.
_ADDRESS = re.compile(r"^(?P<kind>postgresql|redis)://[^@]+@[^/]+/(?P<used>[a-z0-9_]+)$")

# The hosts in the environment of a container: "temporal:7233", "http://minio:9000", "temporal-es".
_HOST = re.compile(r"(?:^|//|@|,)([a-z][a-z0-9-]*)(?=[:/,]|$)")


@dataclass(frozen=True, kw_only=True)
class StackChecks:
    """Declarations that must agree with those of the stacks.

    :param databases: of shared-postgres
    :param redis_indexes: of shared-redis
    :param names: other names on the network, each with its owner
    :param ports: other TCP ports of the host, each with its owner
    :param open_tcp_ports: ports that the firewall opens to the world
    :param open_udp_ports: likewise
    :param file: file of these declarations, for messages
    :param files: file of a stack, by its name, if it is another one
    """

    stacks: Sequence[Stack]
    databases: Sequence[Database] = ()
    redis_indexes: Sequence[RedisIndex] = ()
    names: Mapping[str, str]
    ports: Mapping[int, str]
    open_tcp_ports: Sequence[int]
    open_udp_ports: Sequence[int]
    file: str = "group_data/shared.py"
    files: Mapping[str, str] = field(default_factory=dict)

    def problems(self) -> list[Violation]:
        """All problems."""
        return [
            *self._duplicates(),
            *self._names(),
            *self._ports(),
            *self._images(),
            *self._volumes(),
            *self._private(),
            *self._shared(),
        ]

    @property
    def _services(self) -> Iterator[tuple[str, Service]]:
        for stack in self.stacks:
            for service in stack.services:
                yield f"stacks.{stack.name}.{service.name}", service

    def _problem(self, key: str, found: object, expected: str, remedy: str = "") -> Violation:
        _, _, below = key.partition("stacks.")
        return Violation(
            self.files.get(below.partition(".")[0], self.file), key, str(found), expected, remedy
        )

    def _duplicates(self) -> Iterator[Violation]:
        for name in _repeated([stack.name for stack in self.stacks]):
            yield self._problem("stacks", f"{name} more than once", "declared once")
        owners: dict[str, str] = {}
        for key, service in self._services:
            for domain in service.domains:
                if domain in owners:
                    expected = f"a domain of its own; {owners[domain]} has this one"
                    yield self._problem(f"{key}.domain", domain, expected)
                owners.setdefault(domain, service.name)

    def _names(self) -> Iterator[Violation]:
        """Names of two containers: Docker's DNS would answer with either of them."""
        owners = dict(self.names)
        for key, service in self._services:
            for name in service.names:
                if name in owners:
                    expected = f"a name of its own on the network; {owners[name]} has this one"
                    yield self._problem(key, name, expected)
                owners.setdefault(name, service.name)

    def _ports(self) -> Iterator[Violation]:
        owners = dict(self.ports)
        for key, service in self._services:
            for port in (*([service.publish] if service.publish else ()), *service.public):
                if port in owners:
                    yield self._problem(
                        key, port, f"a port of its own on the host; {owners[port]} has this one"
                    )
                owners.setdefault(port, service.name)
            if service.publish in self.open_tcp_ports:
                expected = "a port that open_tcp_ports does not open to the world"
                yield self._problem(f"{key}.publish", service.publish, expected)
            for name, ports, opened in (
                ("public", service.public, self.open_tcp_ports),
                ("public_udp", service.public_udp, self.open_udp_ports),
            ):
                for port in set(ports) - set(opened):
                    allowed = ", ".join(map(str, opened))
                    yield self._problem(f"{key}.{name}", port, f"one that the firewall opens: {allowed}")

    def _images(self) -> Iterator[Violation]:
        builds: dict[str, tuple[str | None, Mapping[str, str]]] = {}
        for key, service in self._services:
            build = (service.build, service.build_args)
            if builds.setdefault(service.image, build) != build:
                yield self._problem(f"{key}.image", service.image, "built in one way wherever it is used")

    def _volumes(self) -> Iterator[Violation]:
        volumes = {
            (stack.name, name)
            for stack in self.stacks
            for service in stack.services
            for name in service.volumes
        }
        stacks = {stack.name: stack for stack in self.stacks}
        for name in _repeated([volume(stacks[stack], name) for stack, name in sorted(volumes)]):
            yield self._problem(
                "stacks", f"two volumes that Docker would call {name}", "volumes of their own"
            )

    def _private(self) -> Iterator[Violation]:
        """Addresses of services that share no network with the container that has the address."""
        users = {
            service.name: {other.name for other in stack.services if service.name in other.depends_on}
            for stack in self.stacks
            for service in stack.services
            if service.private
        }
        names = {
            name: service.name for _, service in self._services if service.private for name in service.names
        }
        for key, service in self._services:
            addresses = {
                variable: text for variable, text in service.generated_secrets.items() if "{" in text
            }
            for variable, text in {**service.env, **addresses}.items():
                for name in _HOST.findall(str(text)):
                    owner = names.get(name, service.name)
                    if owner != service.name and service.name not in users[owner]:
                        expected = f"nothing of {owner}, which is private to what depends on it"
                        remedy = (
                            "name it in `depends_on` of a service of its stack, or take its `private` away"
                        )
                        yield self._problem(f"{key}.{variable}", f"an address of {name}", expected, remedy)

    def _shared(self) -> Iterator[Violation]:
        databases = [database.name for database in self.databases]
        indexes = {index.index: index for index in self.redis_indexes}
        for unowned in (number for number, index in indexes.items() if not index.users):
            yield self._problem(
                f"redis_indexes.{unowned}", "without users", "an index with at least one user"
            )
        yield from self._channels()
        for key, service in self._services:
            if service.database is not None and service.database not in databases:
                allowed = f"one of databases: {', '.join(databases)}"
                yield self._problem(
                    f"{key}.database", service.database, allowed, closest(service.database, databases)
                )
            passwords = {
                "postgres": {database.role for database in self.databases},
                "redis": {user for index in self.redis_indexes for user in index.users},
            }
            for secret in sorted(service.secrets_used):
                server, _, user = secret.partition("/")
                if user not in passwords.get(server, {user}):
                    allowed = ", ".join(f"{server}/{known}" for known in sorted(passwords[server]))
                    hint = closest(user, passwords[server])
                    yield self._problem(
                        f"{key}.generated_secrets", secret, f"a password that {server} knows: {allowed}", hint
                    )
            for variable, text in service.generated_secrets.items():
                if (address := _ADDRESS.search(text)) is None:
                    continue
                kind, used = address["kind"], address["used"]
                attribute = "database" if kind == "postgresql" else "redis"
                declared = (
                    [service.database or ""] if kind == "postgresql" else [str(one) for one in service.redis]
                )
                if used not in declared:
                    expected = f"what its `{attribute}` says: {', '.join(declared) or 'nothing'}"
                    yield self._problem(
                        f"{key}.generated_secrets.{variable}", f"an address of {used}", expected
                    )
            for number in service.redis:
                index = indexes.get(number)
                if index is None:
                    allowed = f"one of redis_indexes: {', '.join(map(str, sorted(indexes)))}"
                    yield self._problem(f"{key}.redis", number, allowed)
                elif service.redis_user not in index.users:
                    yield self._problem(
                        f"{key}.redis",
                        f"{number} as {service.redis_user}",
                        f"an index of its own, as {number} is for {', '.join(index.users)} ({index.usage})",
                        f"take another, or name {service.redis_user} among its users",
                    )

    def _channels(self) -> Iterator[Violation]:
        """Channels of Redis that another user could also use."""
        users = sorted({user for index in self.redis_indexes for user in index.users})
        every = {
            user: (
                *redis.channels(user, own := [index for index in self.redis_indexes if user in index.users]),
                *(channel for index in own for channel in index.named_channels),
            )
            for user in users
        }
        for index in self.redis_indexes:
            for channel in index.channels:
                for user in (user for user in users if user not in index.users):
                    for theirs in (theirs for theirs in every[user] if _overlap(channel, theirs)):
                        yield self._problem(
                            f"redis_indexes.{index.index}.channels",
                            f"{channel}, and {theirs} of {user}",
                            "channels that nobody else has",
                        )


def _overlap(one: str, other: str) -> bool:
    """Whether a channel can match both: each a name, or a prefix and a *."""
    prefix, rest = sorted((one, other), key=lambda pattern: len(pattern.rstrip("*")))
    if prefix.endswith("*"):
        return rest.startswith(prefix.rstrip("*"))
    return prefix == rest or rest == f"{prefix}*"


def missing_names(
    shared: Sequence[Stack], pooler: PgBouncer, gateway: Gateway, files: Mapping[str, str]
) -> Iterator[Violation]:
    """Problems where a stack or container does not have the name that phases and addresses use.

    :param shared: the stacks that belong to no project
    :param files: the file in which each key of group_data/ is declared
    """

    def problem(key: str, item: str, found: object, expected: str, remedy: str = "") -> Violation:
        return Violation(files.get(key, "host data"), f"{key}.{item}", str(found), expected, remedy)

    # With the port of their addresses, where that is declared elsewhere.
    expected: dict[str, dict[str, int | None]] = {
        "postgres": {POSTGRES: pooler.host_port},
        "redis": {REDIS: gateway.cache.port},
        "proxy": {},
        "langfuse": {LANGFUSE: None, MINIO: None},
        "litellm": {gateway.container: gateway.port},
        "pgbouncer": {POOLER: pooler.port},
        MONITORING: {KUMA: None},
    }
    stacks = {stack.name: stack for stack in shared}
    for name, containers in expected.items():
        if name not in stacks:
            yield problem("shared_stacks", name, "missing", "declared: a phase deploys it by this name")
            continue
        services = {service.name: service for service in stacks[name].services}
        for container, port in containers.items():
            item = f"{name}.{container}"
            if container not in services:
                remedy = "what else it is called can be among its aliases"
                yield problem("shared_stacks", item, "missing", "declared: others use this name", remedy)
            elif port not in (None, services[container].port):
                actual = services[container].port
                yield problem("shared_stacks", f"{item}.port", actual, f"{port}, the port that others use")
            elif container == KUMA and services[container].publish is None:
                why = "a port of the host, for the heartbeats of its cron jobs"
                yield problem("shared_stacks", f"{item}.publish", "missing", why)
    if pooler.host != POSTGRES:
        yield problem("pgbouncer", "host", repr(pooler.host), f"{POSTGRES!r}, as that container is called")
    if gateway.cache.host != REDIS:
        found = repr(gateway.cache.host)
        yield problem("gateway", "cache.host", found, f"{REDIS!r}, as that container is called")


def _repeated(values: Iterable[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]

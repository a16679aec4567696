"""A Redis server in a container: the settings and users of the running server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script

# Rules that add nothing: resets, and defaults.
_SILENT = frozenset({"sanitize-payload", "resetpass", "resetkeys", "resetchannels", "reset", "alldbs"})
_SELECTOR = re.compile(r"\(([^()]*)\)")
_LONG = {"allkeys": "~*", "allchannels": "&*", "allcommands": "+@all", "nocommands": "-@all"}


@dataclass(frozen=True)
class Selector:
    """A set of rights of a user, in one form: two answers of one version for the same rules are equal.

    :param patterns: of keys and channels
    :param databases: a rule about them; None for all
    :param commands: rules; Redis 7.0 makes them up anew for each answer, in no order, and later ones leave out what
        a later rule overrode: their order says nothing
    """

    patterns: frozenset[str] = frozenset()
    databases: str | None = None
    commands: frozenset[str] = frozenset({"-@all"})


@dataclass(frozen=True)
class AclUser:
    """A user of Redis' ACL.

    :param flags: on or off, nopass
    :param passwords: hash of the hash that Redis keeps of each
    :param rules: the user's own
    :param selectors: further ones; each allows something by itself
    """

    flags: frozenset[str]
    passwords: frozenset[str]
    rules: Selector = Selector()
    selectors: frozenset[Selector] = frozenset()


@dataclass(frozen=True)
class RedisState:
    """Answer of `Redis`.

    :param answer: its reply to PING: "PONG", a refusal, or None where nothing answers
    :param refusal: what Docker or the client complained of; empty for nothing
    :param settings: those that were asked for
    :param users: by name, as it runs with them
    :param file_sha256: hash of its ACL file
    :param declared: users of that file, as a server of this version reads it; none where it refuses the file
    """

    answer: str | None = None
    refusal: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, AclUser] = field(default_factory=dict)
    file_sha256: str | None = None
    declared: Mapping[str, AclUser] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        return self.answer == "PONG"


class Redis(FactBase[RedisState]):
    """The server's settings and users, in one question.

    :param container: in which it runs
    :param settings: names of the settings to read
    :param user: who asks
    :param password_file: file in the container with that user's password
    """

    def command(
        self, container: str, settings: Iterable[str], user: str, password_file: str
    ) -> StringCommand:
        """The script and its arguments."""
        return script.command("redis.sh", container, user, password_file, *settings)

    @staticmethod
    def default() -> RedisState:
        """No server."""
        return RedisState()

    def process(self, output: list[str]) -> RedisState:
        """Read the answer of `command`."""
        return read_redis(output)


def read_redis(output: Iterable[str]) -> RedisState:
    """Read what files/facts/redis.sh prints."""
    sections = dict(script.sections(output))
    pairs = sections.get("settings", [])
    return RedisState(
        answer=next((line for line in sections.get("ping", ()) if line), None),
        refusal="\n".join(sections.get("refusal", ())).strip(),
        settings=dict(zip(pairs[::2], pairs[1::2], strict=False)),
        users=read_users(sections.get("users", ())),
        file_sha256=next((line.split()[0] for line in sections.get("file", ()) if line), None),
        declared=read_users(sections.get("declared", ())),
    )


def read_users(lines: Iterable[str]) -> dict[str, AclUser]:
    """Users by name, from the lines of ACL LIST."""
    users = {}
    for line in lines:
        keyword, _, rest = line.partition(" ")
        if keyword == "user":
            name, _, rules = rest.partition(" ")
            users[name] = _user(rules)
    return users


def _user(rules: str) -> AclUser:
    flags: set[str] = set()
    passwords: set[str] = set()
    own: list[str] = []
    for rule in _SELECTOR.sub(" ", rules).split():
        if rule.startswith("#"):
            passwords.add(hashlib.sha256(rule.encode()).hexdigest())
        elif rule in ("on", "off", "nopass"):
            flags.add(rule)
        else:
            own.append(rule)
    return AclUser(
        frozenset(flags),
        frozenset(passwords),
        _selector(own),
        frozenset(_selector(text.split()) for text in _SELECTOR.findall(rules)),
    )


def _selector(rules: Iterable[str]) -> Selector:
    patterns: set[str] = set()
    databases: str | None = None
    commands = ["-@all"]  # what everybody begins with
    for rule in rules:
        rule = _LONG.get(rule, rule)
        if rule in _SILENT:
            continue
        if rule.startswith(("~", "&", "%")):
            patterns.add(rule)
        elif rule.startswith("db=") or rule == "resetdbs":
            databases = rule
        elif rule in ("+@all", "-@all"):
            commands = [rule]  # it resets every rule before it
        else:
            commands.append(rule)
    return Selector(frozenset(patterns), databases, frozenset(commands))

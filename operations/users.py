"""Accounts that services run as."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.cache import cached_fact
from facts.users import Account, AccountState

NOBODY_LOGS_IN = "/usr/sbin/nologin"


def difference(actual: AccountState, user: str, home: str, groups: Sequence[str]) -> list[tuple[str, ...]]:
    """The commands from the actual to the declared account; none where they agree."""
    missing = [group for group in groups if group not in actual.known_groups]
    commands: list[tuple[str, ...]] = [("groupadd", "--system", group) for group in missing]
    if not actual.exists:
        own = ("--gid", user) if user in actual.known_groups else ("--user-group",)
        more = ("--groups", ",".join(groups)) if groups else ()
        options = ("--system", *own, *more, "--home-dir", home, "--no-create-home", "--shell", NOBODY_LOGS_IN)
        return [*commands, ("useradd", *options, user)]
    changed: list[str] = []
    if actual.home != home:
        changed += ["--home", home]
    if actual.shell != NOBODY_LOGS_IN:
        changed += ["--shell", NOBODY_LOGS_IN]
    if new := [group for group in groups if group not in actual.groups]:
        changed += ["--append", "--groups", ",".join(new)]
    return [*commands, ("usermod", *changed, user)] if changed else commands


@operation()
def system_user(user: str, home: str, groups: Sequence[str] = ()) -> Generator[StringCommand, None, None]:
    """Create a system account with a group of its own, for a service to run as. It has no login.

    + user: name of the account and of its own group
    + home: its home directory; declared where the other directories are, not made here
    + groups: further groups it belongs to, made if they are missing; it keeps others that it is in
    """
    for name in (user, *groups):
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", name):
            raise OperationValueError(f"{name!r} is not the name of a user or group")
    commands = difference(cached_fact(Account, user=user, groups=list(groups)), user, home, groups)
    if not commands:
        host.noop(f"account {user} as declared")
    for command in commands:
        yield StringCommand(*(QuoteString(word) for word in command))

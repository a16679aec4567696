"""Accounts and groups of a host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class AccountState:
    """Answer of `Account`: the account if there is one, its groups, and which of the groups asked for exist."""

    exists: bool = False
    home: str = ""
    shell: str = ""
    groups: frozenset[str] = field(default_factory=frozenset)
    known_groups: frozenset[str] = field(default_factory=frozenset)


class Account(FactBase[AccountState]):
    """One account and groups that it may belong to, from whatever the host's name services are.

    :param user: name of the account
    :param groups: names of groups
    """

    def command(self, user: str, groups: Iterable[str] = ()) -> StringCommand:
        """Three look-ups, each of which may find nothing."""
        return StringCommand(
            *("getent passwd", QuoteString(user), "| sed 's/^/passwd:/';"),
            *("id -nG", QuoteString(user), "2>/dev/null | sed 's/^/member:/';"),
            *(
                "getent group",
                QuoteString(user),
                *(QuoteString(group) for group in groups),
                "| sed 's/^/group:/'",
            ),
        )

    @staticmethod
    def default() -> AccountState:
        """Neither account nor groups."""
        return AccountState()

    def process(self, output: list[str]) -> AccountState:
        """Read the answer of `command`."""
        found = AccountState()
        for line in output:
            kind, _, rest = line.partition(":")
            if kind == "passwd":
                *_, home, shell = rest.split(":")
                found = replace(found, exists=True, home=home, shell=shell)
            elif kind == "member":
                found = replace(found, groups=frozenset(rest.split()))
            elif kind == "group":
                found = replace(found, known_groups=found.known_groups | {rest.partition(":")[0]})
        return found

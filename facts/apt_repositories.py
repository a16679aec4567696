"""Where apt takes packages from, and by which keys it trusts a repository."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


@dataclass(frozen=True)
class Target:
    """A component of a configured repository.

    :param file: the configuration that names it
    :param uri: of the repository
    :param suite: "trixie", "trixie-updates"
    :param component: "main"
    :param signed_by: path of a keyring, or "" for apt's own
    """

    file: str
    uri: str
    suite: str
    component: str
    signed_by: str


@dataclass(frozen=True)
class Repositories:
    """:param codename: of the release that is installed, "trixie"
    :param fingerprints: of the primary keys in the keyring that was asked for
    """

    targets: tuple[Target, ...] = ()
    codename: str = ""
    fingerprints: tuple[str, ...] = ()


def parse(output: Iterable[str]) -> Repositories:
    """The answer of files/facts/apt-repositories.sh."""
    sections = dict(script.sections(output))
    # "/etc/apt/sources.list.d/debian.sources:Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg"
    matches = (
        re.fullmatch(r"(/[^:]+):signed-by[=:] *(.+)", line, re.IGNORECASE)
        for line in sections.get("signed-by", [])
    )
    keyrings = {match[1]: match[2] for match in matches if match}
    targets = set()
    for row in (line.split("|") for line in sections.get("targets", [])):
        if len(row) == 4:
            file = row[0].rpartition(":")[0]  # "/etc/apt/sources.list:3"
            targets.add(Target(file, row[1].rstrip("/"), row[2], row[3], keyrings.get(file, "")))
    return Repositories(
        targets=tuple(
            sorted(targets, key=lambda target: (target.uri, target.suite, target.component, target.file))
        ),
        codename="".join(sections.get("codename", [])),
        fingerprints=tuple(sections.get("key", [])),
    )


class AptRepositories(FactBase[Repositories]):
    """Configured repositories, and the keys of one keyring.

    :param keyring: its path, or "" for none
    """

    def command(self, keyring: str = "") -> StringCommand:
        """The script and its arguments."""
        return script.command("apt-repositories.sh", keyring)

    @staticmethod
    def default() -> Repositories:
        """No repositories."""
        return Repositories()

    def process(self, output: list[str]) -> Repositories:
        """Read the answer of `command`."""
        return parse(output)

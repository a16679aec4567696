"""Organisations, projects, keys and members of a Langfuse, by its database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


@dataclass(frozen=True)
class ProjectState:
    """A project. One that a person deletes is `deleted` until the worker has removed what is in it."""

    id: str
    name: str
    organisation: str
    deleted: bool = False


@dataclass(frozen=True)
class ApiKey:
    """A key pair.

    :param hash: Langfuse's quick hash of the secret key; None before its first use where an old version made it
    :param project: that it opens, None for one of a whole organisation
    """

    id: str
    public_key: str
    hash: str | None
    note: str | None
    project: str | None
    organisation: str | None = None


@dataclass(frozen=True)
class Member:
    """What a person may do in an organisation, or in one of its projects."""

    email: str | None
    role: str
    organisation: str
    project: str | None = None


@dataclass(frozen=True)
class LangfuseState:
    """Answer of `Langfuse`.

    :param answers: whether there is one; the rest is empty otherwise
    :param reason: why there is no answer of one that runs
    :param administrators: users who may do everything in it
    """

    answers: bool = False
    reason: str = "none that runs"
    organisations: frozenset[str] = frozenset()
    projects: tuple[ProjectState, ...] = ()
    keys: tuple[ApiKey, ...] = ()
    members: tuple[Member, ...] = ()
    administrators: tuple[str, ...] = ()


class Langfuse(FactBase[LangfuseState]):
    """Who may do what in a Langfuse, in one question. It is asked as the role that the container logs in with.

    :param container: of its web server
    :param postgres: container of its Postgres
    """

    def command(self, container: str, postgres: str) -> StringCommand:
        """The script and its arguments."""
        return script.command("langfuse.sh", container, postgres)

    @staticmethod
    def default() -> LangfuseState:
        """No Langfuse."""
        return LangfuseState()

    def process(self, output: list[str]) -> LangfuseState:
        """Read the answer of `command`."""
        return read_langfuse(output)


def read_langfuse(output: Iterable[str]) -> LangfuseState:
    """Read what files/facts/langfuse.sh prints."""
    lines = [line for line in output if line]
    line = next((line for line in lines if line.startswith("{")), None)
    if line is None:
        return LangfuseState(reason=lines[-1]) if lines else LangfuseState()
    answer = script.from_json(line, "Langfuse's Postgres")
    return LangfuseState(
        answers=True,
        organisations=frozenset(answer["organisations"]),
        projects=tuple(ProjectState(**project) for project in answer["projects"]),
        keys=tuple(ApiKey(**key) for key in answer["keys"]),
        members=tuple(Member(**member) for member in answer["members"]),
        administrators=tuple(answer["administrators"]),
    )

"""Langfuse's projects and key pairs: one of each for a project of ours, and one for LiteLLM's own callbacks.

Langfuse's API makes projects and keys only with a licence of the Enterprise Edition (entitlement `admin-api`), and its
LANGFUSE_INIT_* make one project: that of LiteLLM. All others are written into its database, as its own
`createAndAddApiKeysToDb` writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from blueprint.model import GeneratedSecret, Project, Service, Stack, TraceKeys
from blueprint.names import LANGFUSE
from blueprint.problems import Violation
from blueprint.secrets import Secrets
from specs.langfuse import TraceProject

PUBLIC, SECRET = "pk-lf-", "sk-lf-"


@dataclass(frozen=True)
class Initial:
    """What Langfuse creates at its start, by the LANGFUSE_INIT_* of its container.

    :param organisation: id of the organisation that all our projects are in
    :param project: id of the project with LiteLLM's own traces
    :param keys: secrets with its key pair
    :param owner: e-mail address of its one user
    :param salt: secret that it hashes keys with
    :param redis_index: index of its cache of keys
    """

    organisation: str
    project: str
    keys: TraceKeys
    owner: str
    salt: str
    redis_index: int


# Variables that `initial` reads.
_ENVIRONMENT = ("LANGFUSE_INIT_ORG_ID", "LANGFUSE_INIT_PROJECT_ID", "LANGFUSE_INIT_USER_EMAIL")
_SECRETS = ("LANGFUSE_INIT_PROJECT_PUBLIC_KEY", "LANGFUSE_INIT_PROJECT_SECRET_KEY", "SALT")


def problems(stacks: Sequence[Stack], projects: Sequence[Project], file: str) -> Iterator[Violation]:
    """Problems of Langfuse's first project, and projects of ours that collide with it.

    :param stacks: the shared stacks, with or without Langfuse's
    :param file: where they are declared, for messages
    """
    for service in (one for stack in stacks for one in stack.services if one.name == LANGFUSE):
        missing = [name for name in _ENVIRONMENT if not service.env.get(name)]
        missing += [name for name in _SECRETS if name not in service.generated_secrets]
        if missing:
            expected = "declared: each project gets its place beside Langfuse's first one"
            yield Violation(file, f"langfuse.{LANGFUSE}", f"without {', '.join(missing)}", expected)
            return
        if not service.redis:
            yield Violation(file, f"langfuse.{LANGFUSE}.redis", "()", "the index where Langfuse caches keys")
            return
        first = initial(stacks)
        for project in projects:
            if project.name == first.project:
                expected = (
                    "another name than that of the project with LiteLLM's traces (LANGFUSE_INIT_PROJECT_ID)"
                )
                yield Violation(file, f"{project.phase}.name", repr(project.name), expected)


def initial(stacks: Sequence[Stack]) -> Initial:
    """The declaration of the first project, from the environment of Langfuse's container.

    :param stacks: the shared ones
    """
    service: Service = next(one for stack in stacks for one in stack.services if one.name == LANGFUSE)
    return Initial(
        organisation=str(service.env["LANGFUSE_INIT_ORG_ID"]),
        project=str(service.env["LANGFUSE_INIT_PROJECT_ID"]),
        keys=TraceKeys(
            service.generated_secrets["LANGFUSE_INIT_PROJECT_PUBLIC_KEY"],
            service.generated_secrets["LANGFUSE_INIT_PROJECT_SECRET_KEY"],
        ),
        owner=str(service.env["LANGFUSE_INIT_USER_EMAIL"]),
        salt=service.generated_secrets["SALT"],
        redis_index=service.redis[0],
    )


def forms(keys: TraceKeys) -> tuple[GeneratedSecret, GeneratedSecret]:
    """Formats of the keys of a pair."""
    return GeneratedSecret(keys.public, prefix=PUBLIC), GeneratedSecret(keys.secret, prefix=SECRET)


def trace_projects(first: Initial, projects: Iterable[Project], secrets: Secrets) -> list[TraceProject]:
    """Langfuse's first project, and one for each of ours, each with its key pair."""

    def keyed(name: str, keys: TraceKeys) -> TraceProject:
        public, secret = (secrets.generated(form.name, form.make) for form in forms(keys))
        return TraceProject(name, public, secret)

    return [keyed(first.project, first.keys), *(keyed(one.name, one.trace_keys) for one in projects)]

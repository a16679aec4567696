"""Langfuse's projects and key pairs: one of each for a project of ours, and one for LiteLLM's own callbacks.

Langfuse's API makes projects and keys only with a licence of the Enterprise Edition (entitlement `admin-api`), and its
LANGFUSE_INIT_* make one project: that of LiteLLM. All others are written into its database, as its own
`createAndAddApiKeysToDb` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blueprint.model import GeneratedSecret, Service, Stack, TraceKeys
from blueprint.names import LANGFUSE

PUBLIC, SECRET = "pk-lf-", "sk-lf-"


@dataclass(frozen=True)
class Initial:
    """What Langfuse makes at its start, as LANGFUSE_INIT_* of its container say.

    :param organisation: id of the organisation that all our projects are in
    :param project: id of the project with LiteLLM's own traces
    :param keys: secrets with its key pair
    :param owner: e-mail address of its one user
    :param salt: secret that it hashes keys with
    :param redis_index: where it caches keys
    """

    organisation: str
    project: str
    keys: TraceKeys
    owner: str
    salt: str
    redis_index: int


def initial(stacks: Sequence[Stack]) -> Initial:
    """What is declared of the first project, in the environment of Langfuse's container.

    :param stacks: the shared ones
    """
    service: Service = next(one for stack in stacks for one in stack.services if one.name == LANGFUSE)
    return Initial(
        organisation=str(service.env["LANGFUSE_INIT_ORG_ID"]),
        project=str(service.env["LANGFUSE_INIT_PROJECT_ID"]),
        keys=TraceKeys(
            service.secrets["LANGFUSE_INIT_PROJECT_PUBLIC_KEY"],
            service.secrets["LANGFUSE_INIT_PROJECT_SECRET_KEY"],
        ),
        owner=str(service.env["LANGFUSE_INIT_USER_EMAIL"]),
        salt=service.secrets["SALT"],
        redis_index=service.redis[0],
    )


def forms(keys: TraceKeys) -> tuple[GeneratedSecret, GeneratedSecret]:
    """What the keys of a pair look like."""
    return GeneratedSecret(keys.public, prefix=PUBLIC), GeneratedSecret(keys.secret, prefix=SECRET)

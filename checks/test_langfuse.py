"""Langfuse: a project and a key pair for each of ours, nobody else's, and its bucket (requirements 3.5)."""

from __future__ import annotations

import pytest

from blueprint import langfuse
from blueprint.applied import Applied
from blueprint.model import BucketData
from blueprint.names import LANGFUSE, POSTGRES
from checks.expect import expect, fail, no_problems
from checks.server import Server
from facts.langfuse import Langfuse, LangfuseState
from facts.s3 import Storage
from operations import s3
from specs.problems import Problem

pytestmark = pytest.mark.litellm

AGAIN = "run --data phase=litellm again"


@pytest.fixture
def state(server: Server) -> LangfuseState:
    """Its projects and keys, which have to be readable."""
    found = server.fact(Langfuse, container=LANGFUSE, postgres=POSTGRES)
    if not found.answers:
        fail([Problem(LANGFUSE, found.reason, "an answer", f"docker logs --tail 20 {LANGFUSE}")])
    return found


def names(applied: Applied) -> list[str]:
    """The declared projects."""
    first = langfuse.initial(applied.blueprint.shared_stacks)
    return [first.project, *(project.name for project in applied.projects)]


def test_every_project_has_its_own(state: LangfuseState, applied: Applied) -> None:
    """Each project of ours has its project there, so that it reads its own traces only."""
    found = {project.id for project in state.projects if not project.deleted}
    expect("projects", set(names(applied)) - found, set(), AGAIN)


def test_every_project_has_one_key_pair(state: LangfuseState, applied: Applied) -> None:
    """Each has one key pair: a second one is somebody's who left."""
    counts = {name: sum(key.project == name for key in state.keys) for name in names(applied)}
    expect("key pairs", counts, dict.fromkeys(names(applied), 1), "delete the other on Langfuse's page")


def test_no_key_opens_everything(state: LangfuseState) -> None:
    """No key is one of a whole organisation, which reads all projects."""
    expect("keys of an organisation", [key.id for key in state.keys if key.project is None], [], "delete it")


def test_only_the_owner_sees_everything(state: LangfuseState, applied: Applied) -> None:
    """The only member is the owner of the declarations."""
    owner = langfuse.initial(applied.blueprint.shared_stacks).owner
    found = {member.email for member in state.members}
    expect("members", found, {owner}, "remove the others on Langfuse's page")


def test_nobody_else_opens_the_bucket(server: Server, applied: Applied) -> None:
    """The object storage has no undeclared right."""
    for service in applied.services:
        if isinstance(service.data, BucketData):
            storage = server.fact(Storage, container=service.name, directory=s3.DIRECTORY)
            no_problems(s3.right_problems(service.name, storage))

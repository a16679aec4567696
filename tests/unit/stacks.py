"""A stack of two containers, the host that is as it declares, and what a run does there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from facts.environment_files import Variables
from facts.files import Contents, FileState, TreeState
from facts.stacks import Container, Image, Stacks, StacksState
from operations import stacks
from specs.files import Directory, File
from specs.stacks import ComposeStack, Outline
from tests.unit.hosts import commands

ROOT = "/opt/stacks"


FOLDER = f"{ROOT}/front"


IMAGE = "redis:7-bookworm"


def definition(name: str, **more: Any) -> dict[str, Any]:
    return {
        "container_name": name,
        "image": IMAGE,
        "env_file": [f"{name}.env"],
        "healthcheck": {"test": ["CMD", "true"]},
        **more,
    }


# What a run asks to say why it recreates a container, of a host that no longer has it.
UNREAD: dict[Any, Any] = {Contents: {}, Variables: {}}


MOUNT = {"type": "bind", "source": f"{FOLDER}/web/web.conf", "target": "/etc/web.conf"}


def front(text: str = "x", canary: str = "canary", **fields: Any) -> ComposeStack:
    """A stack of two containers, the second of which depends on the first."""
    defaults: dict[str, Any] = {
        "name": "front",
        "folder": FOLDER,
        "project": {
            "services": {
                "late": definition("late", depends_on={"web": {"condition": "service_healthy"}}),
                "web": definition("web", volumes=[MOUNT], command=["echo", "$HOME"]),
            }
        },
        "files": (
            Directory(f"{FOLDER}/web", mode="0700"),
            File(f"{FOLDER}/web.env", f"PASSWORD={canary}\n", mode="0600", secret=True),
            File(f"{FOLDER}/late.env", "", mode="0600", secret=True),
            File(f"{FOLDER}/web/web.conf", text, mode="0600", secret=True),
        ),
    }
    return ComposeStack(**defaults | fields)


# Of the same two containers.
OUTLINE = Outline(
    "front",
    containers=frozenset({"late", "web"}),
    aliases=frozenset(),
    paths=frozenset({f"{FOLDER}/compose.yaml", *(entry.path for entry in front().files)}),
)


def as_declared(stack: ComposeStack) -> StacksState:
    """A host that is as the stack wants it."""
    found: dict[str, FileState] = {}
    for entry in stack.entries():
        if isinstance(entry, File):
            owner = (entry.owner, "0")
            found[entry.path] = FileState("file", int(entry.mode, 8), owner, owner, sha256=entry.sha256)
        elif isinstance(entry, Directory):
            found[entry.path] = FileState("directory", int(entry.mode, 8), ("root", "0"), ("root", "0"))
    return StacksState(
        tree=TreeState(found),
        changed=dict.fromkeys(found, 100.0),
        containers={
            name: Container(
                name=name,
                project=stack.name,
                service=name,
                folder=stack.folder,
                digest=stack.digest(name),
                networks=stack.networks_of(name),
                image_id="sha256:1",
                health="healthy",
                started=200.0,
            )
            for name in stack.services
        },
        images={IMAGE: Image("sha256:1")},
    )


def with_container(state: StacksState, name: str, **changes: Any) -> StacksState:
    return replace(state, containers={**state.containers, name: replace(state.containers[name], **changes)})


def scripts(stack: ComposeStack, state: StacksState, **options: Any) -> list[str]:
    """The scripts that `up` runs."""
    steps = commands(stacks.up, {**UNREAD, Stacks: state}, root=ROOT, stacks=[stack], **options)
    return [step.script for step in steps]

"""A deploy of its own for test_stacks.py: what the variable STACK_CASE names as JSON, and nothing else."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyinfra.context import host

from blueprint import Secrets, for_host
from blueprint.model import Command, Http, Service, Stack
from blueprint.stacks import Content, Resolver, outline
from operations import stacks
from operations.backup import Saving

case: dict[str, Any] = json.loads(Path(os.environ["STACK_CASE"]).read_text())
blueprint = for_host(host.data)
resolver = Resolver(
    root=case["root"],
    network=blueprint.coolify_network,
    docker=blueprint.docker,
    secrets=Secrets.open("case", Path(os.environ["STACK_CASE"]).parent / "secrets"),
)


def _service(declared: dict[str, Any]) -> Service:
    health = declared.pop("health", "/")
    interval_s = declared.pop("interval_s", 1)
    probe = Http(health, interval_s=interval_s, timeout_s=10, retries=2, start_s=15)
    tuples = {key: tuple(value) for key, value in declared.items() if isinstance(value, list)}
    healthy = (
        probe if isinstance(health, str) else Command(health, interval_s=interval_s, retries=2, start_s=15)
    )
    return Service(**{**declared, **tuples, "health": healthy})


declared = [
    Stack(name=stack["name"], services=tuple(map(_service, stack["services"]))) for stack in case["stacks"]
]
contents = {
    path: Content(text) for stack in case["stacks"] for path, text in stack.get("contents", {}).items()
}
made = [resolver.resolve(stack, contents) for stack in declared]
stacks.up(
    name="Stacks of the case",
    root=case["root"],
    # What the model would refuse, Compose has to.
    stacks=[replace(stack, project={**stack.project, **case.get("raw", {})}) for stack in made],
    timeout_s=case.get("timeout_s", 300),
    before_recreate=Saving(**case["saving"]) if "saving" in case else None,
    skip_if_running=case.get("skip_if_running"),
)
if "removed" in case:
    stacks.removed(
        name="Removed on request", root=case["root"], names=case["removed"], saved=case.get("saved")
    )
stacks.report_undeclared(
    name="What is not declared",
    root=case["root"],
    declared=[outline(case["root"], stack) for stack in declared],
)

"""Networks of stacks: made before what is on them, and never changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyinfra.api.exceptions import OperationError

from facts.stacks import Stacks
from operations import stacks
from operations.stack_difference import difference
from specs.stacks import ComposeStack
from tests.unit.hosts import commands
from tests.unit.stacks import ROOT, UNREAD, as_declared, front, scripts, with_container


def test_a_network_of_its_own_is_made_before_what_is_on_it_starts() -> None:
    stack = front(networks=frozenset({"front_private"}))
    actual = replace(as_declared(stack), networks={"coolify": False})
    assert difference(stack, actual).networks == ("front_private",)
    assert scripts(stack, actual) == ["docker/networks.sh"]
    gone = replace(actual, containers={})
    assert scripts(stack, gone)[-2:] == ["docker/networks.sh", "stacks/up.sh"]
    assert not difference(stack, replace(actual, networks={"front_private": True}))


def test_two_stacks_on_a_network_make_it_once() -> None:
    stack = front(networks=frozenset({"front_private"}))
    other = replace(stack, networks=frozenset({"front_private", "back_private"}))
    steps = commands(stacks.up, {**UNREAD, Stacks: as_declared(stack)}, root=ROOT, stacks=[stack, other])
    made = [step for step in steps if step.script == "docker/networks.sh"]
    assert [step.get_raw_value().split()[-2:] for step in made] == [["front_private", "back_private"]]


def on_networks(*names: str, internal: tuple[str, ...] = ()) -> ComposeStack:
    """A stack whose container `web` is on these networks, and `late` on none that is declared."""
    stack = front(networks=frozenset(internal))
    services = dict(stack.services)
    services["web"] = {**services["web"], "networks": {f"key-{name}": {} for name in names}}
    project = {"services": services, "networks": {f"key-{name}": {"name": name} for name in names}}
    return replace(stack, project=project)


@pytest.mark.parametrize(
    ("internal", "on", "recreated"),
    [
        ((), {"coolify"}, False),
        ((), set(), True),
        ((), {"other"}, True),
        ((), {"coolify", "other"}, False),
        (("coolify",), {"coolify"}, False),
        (("coolify",), {"coolify", "other"}, True),
    ],
)
def test_a_container_on_other_networks_is_made_anew(
    internal: tuple[str, ...], on: set[str], recreated: bool
) -> None:
    stack = on_networks("coolify", internal=internal)
    actual = replace(as_declared(stack), networks={"coolify": bool(internal)})
    found = difference(stack, with_container(actual, "web", networks=frozenset(on)))
    assert [(step.container, step.recreates) for step in found.starts] == [("web", True)] * recreated


def test_a_network_of_that_name_with_a_way_out_is_refused() -> None:
    stack = front(networks=frozenset({"front_private"}))
    actual = replace(as_declared(stack), networks={"front_private": False})
    with pytest.raises(OperationError, match="found it with a way out; expected it internal"):
        difference(stack, actual)

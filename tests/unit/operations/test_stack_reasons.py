"""Why a container is recreated: what the log says of it, without a value."""

from __future__ import annotations

from typing import Any

import pytest

from facts.environment_files import Variables
from facts.files import Contents
from facts.stacks import Stacks
from operations import stacks
from operations.environment_files import variables
from specs.files import File
from tests.unit.hosts import scripted_host
from tests.unit.stacks import FOLDER, IMAGE, ROOT, as_declared, front, with_container


@pytest.mark.parametrize(
    ("before", "output"),
    [
        ({"text": "y"}, "web/web.conf"),
        ({"canary": "another"}, "web.env"),
        ({"image": "web:0"}, f"image from web:0 to {IMAGE}"),
        ({"mem_limit": "256m"}, "mem_limit"),
        ({"command": ["other", "$HOME"]}, "command"),
        ({"labels": {"a": "b"}, "canary": "another"}, "labels, web.env"),
        ({}, "an earlier run wrote its files and did not recreate it"),
    ],
)
def test_a_recreated_container_says_what_has_changed(before: dict[str, Any], output: str) -> None:
    """By compose.yaml and the hashes of the files, as an earlier run wrote them."""
    texts = {key: before[key] for key in before.keys() & {"text", "canary"}}
    fields = {key: value for key, value in before.items() if key not in texts}
    now, project = front(), front().project
    services = {**project["services"], "web": {**project["services"]["web"], **fields}}
    old = front(**texts, project={**project, "services": services})
    state = with_container(as_declared(old), "web", digest="older")
    answers: dict[Any, Any] = {
        Stacks: state,
        Variables: {},
        Contents: {f"{FOLDER}/compose.yaml": old.compose().encode()},
    }
    with scripted_host(answers) as host:
        list(stacks.up._inner(root=ROOT, stacks=[now]))
    assert f"web: was made from another declaration: {output}" in host.logged
    assert "canary" not in "".join(host.logged)


def test_the_log_names_the_variables_that_change_and_no_value() -> None:
    env = f"{FOLDER}/web.env"
    now = front(
        files=(*front().files[:1], File(env, "KEPT='a\nb'\nTOKEN=canary\nNEW=canary\n"), *front().files[2:])
    )
    before = variables("TOKEN=other-canary\nKEPT='a\nb'\nOLD=canary\n")
    state = as_declared(front(canary="other"))
    with scripted_host({Stacks: state, Variables: {env: before}, Contents: {}}) as host:
        list(stacks.up._inner(root=ROOT, stacks=[now]))
    assert f"{env}: TOKEN changed, NEW added, OLD removed" in host.logged
    assert "canary" not in "".join(host.logged)


def test_a_compose_file_that_is_no_text_stops_no_run() -> None:
    answers: dict[Any, Any] = {
        Stacks: with_container(as_declared(front()), "web", digest="older"),
        Contents: {f"{FOLDER}/compose.yaml": b"services: \xff"},
    }
    with scripted_host(answers) as host:
        list(stacks.up._inner(root=ROOT, stacks=[front()]))
    assert any(line.startswith("web: was made from another declaration") for line in host.logged)


def test_nothing_more_is_asked_where_nothing_differs() -> None:
    with scripted_host({Stacks: as_declared(front())}) as host:
        list(stacks.up._inner(root=ROOT, stacks=[front()]))
    assert len(host.asked) == 1

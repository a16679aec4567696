"""What containers may do, as far as their declarations and their images say it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.declared import declared
from tests.unit.paths import CHECKOUT

IMAGES = CHECKOUT / "lab" / "images"
# The folder of each image, by what production calls it. Users are those of the production images.
FOLDERS = {
    reference.removeprefix("docker.io/").removeprefix("library/"): file.parent
    for file in IMAGES.glob("*/reference")
    for reference in file.read_text().split()
}
SERVICES = {service.name: service for stack in declared().stacks for service in stack.services}


def user_of(folder: Path) -> str:
    """The user as whom an image starts, "" for root."""
    text = (folder / "Dockerfile").read_text()
    named = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    if named:
        return str(named[-1])
    base = (
        re.findall(r"^FROM (\S+)", text, re.MULTILINE)[-1].removeprefix("docker.io/").removeprefix("library/")
    )
    return user_of(FOLDERS[base]) if base in FOLDERS else ""


@pytest.mark.parametrize("name", SERVICES)
def test_root_is_declared_where_it_is_and_nowhere_else(name: str) -> None:
    service = SERVICES[name]
    folder = CHECKOUT / service.build if service.build else FOLDERS[service.image]
    starts_as_root = not (service.user or user_of(folder))
    assert starts_as_root == bool(service.root)


@pytest.mark.parametrize("name", [name for name, one in SERVICES.items() if one.cap_add])
def test_capabilities_are_of_those_that_start_as_root(name: str) -> None:
    """An unprivileged program that is given one does not get it: what grants it is a privilege that is new."""
    assert SERVICES[name].root


def test_who_must_not_be_root_is_not() -> None:
    assert {name for name, one in SERVICES.items() if one.root} == {
        *("traefik", "minio", "litellm-proxy", "uptime-kuma", "nango", "postiz"),
    }


def test_nobody_has_a_path_of_the_host() -> None:
    assert {name for name, one in SERVICES.items() if one.host_paths} == set()

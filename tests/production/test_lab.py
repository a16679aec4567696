"""The lab stands for what production declares: its models, its images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from blueprint import group_data
from lab.images.pipeline import HERE, references
from lab.ollama import registry
from tests.unit.paths import CHECKOUT

BLUEPRINT = group_data.read().blueprint("production")
SERVICES = {service.name: service for stack in BLUEPRINT.stacks for service in stack.services}


def folders() -> Mapping[str, Path]:
    """The folder of each image of the lab, by the name under which production pulls it."""
    return {
        name.removeprefix("docker.io/").removeprefix("library/"): HERE / folder
        for folder, names in references().items()
        for name in names
    }


FOLDERS = folders()


def user_of(folder: Path) -> str:
    """The user as whom an image starts, "" for root."""
    text = (folder / "Dockerfile").read_text()
    named: list[str] = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    if named:
        return named[-1]
    last: str = re.findall(r"^FROM (\S+)", text, re.MULTILINE)[-1]
    base = last.removeprefix("docker.io/").removeprefix("library/")
    return user_of(FOLDERS[base]) if base in FOLDERS else ""


@pytest.mark.parametrize(
    "name", [name for name, one in SERVICES.items() if one.build or one.image in FOLDERS]
)
def test_root_is_declared_where_it_is_and_nowhere_else(name: str) -> None:
    """The lab's images have the users of the real ones."""
    service = SERVICES[name]
    folder = CHECKOUT / service.build if service.build else FOLDERS[service.image]
    starts_as_root = not (service.user or user_of(folder))
    assert starts_as_root == bool(service.root)


def test_the_registry_has_every_declared_model() -> None:
    shapes = {model.name: (model.layers, model.kv_heads, model.head_dim) for model in registry.MODELS}
    declared = {
        model.name: (model.layers, model.kv_heads, model.head_dim) for model in BLUEPRINT.ollama_models
    }
    assert {name: shapes.get(name) for name in declared} == declared, "see lab/ollama/registry.py"

"""What production and the lab declare is valid, within every budget, and documented; no value of it is here."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

from blueprint import group_data
from blueprint.environment import hosts
from blueprint.group_data import ENVIRONMENTS, Layer
from blueprint.keys import KEYS
from blueprint.model import Project
from tests.unit.paths import CHECKOUT

# `make lab` writes these; a checkout without a lab has none.
LABS_CHECKSUMS = Layer(
    "lab", "a test", {"ollama_sha256": "a" * 64, "container_toolkit_key_fingerprint": "A" * 40}
)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("profile", group_data.read().profiles)
def test_everything_declared_is_valid_and_fits(environment: str, profile: str) -> None:
    chosen = Layer(profile, f"group_data/{profile}.py", {"hardware_profile": profile})
    group_data.read().blueprint(
        environment, LABS_CHECKSUMS if environment == "lab" else group_data.NOTHING, chosen
    )


@pytest.mark.parametrize("path", sorted(group_data.FOLDER.glob("*.py")), ids=lambda path: str(path.name))
def test_every_key_is_documented_beside_it(path: Path) -> None:
    text = path.read_text()
    comments = {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            above = node.lineno - 1
            # Keys that stand together share the comment above the first.
            while above and lines[above - 1] and above not in comments:
                above -= 1
            # What a file is there for alone, its docstring says.
            alone = name in ("profile", path.stem)
            assert name.startswith("_") or alone or above in comments, f"{path.name}: {name}"


def test_every_key_that_is_read_is_declared() -> None:
    layers = group_data.read().layers.values()
    keys = {key for layer in layers for key, value in layer.data.items() if not isinstance(value, Project)}
    assert keys == set(KEYS)


def test_the_example_of_a_host_is_valid(tmp_path: Path) -> None:
    text = (CHECKOUT / "production.example.yaml").read_text(encoding="utf-8")
    (tmp_path / "production.yaml").write_text(text)
    declared = group_data.read()
    (host,) = hosts("production", declared.roles, tmp_path)
    declared.blueprint("production", Layer(host.name, host.file, host.data))

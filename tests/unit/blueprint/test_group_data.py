"""group_data/: every key in one place, documented there, and mistakes named before pyinfra meets them."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

from blueprint import DeclarationError, group_data
from blueprint.keys import KEYS
from blueprint.model import Project

FILES = sorted(group_data.FOLDER.glob("*.py"))

PROFILE = """
from blueprint.model import HardwareProfile
profile = HardwareProfile(name="{name}", cpu_model="x", cores=2, ram_gib=12, disk_gib=229, ollama_parallel={{}})
"""


def folder(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def refused(path: Path) -> list[str]:
    with pytest.raises(DeclarationError) as error:
        group_data.read(path)
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
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


def test_every_key_is_read_and_every_key_that_is_read_is_declared() -> None:
    layers = group_data.read().layers.values()
    keys = {key for layer in layers for key, value in layer.data.items() if not isinstance(value, Project)}
    assert keys == set(KEYS)


def test_roles_and_profiles() -> None:
    read = group_data.read()
    assert read.roles == ("augmenter", "coach_credit", "gpu", "renov_bati", "shared", "voicejury")
    assert read.profiles == ("celeron_g4930", "i7_9700k")


def test_two_roles_may_not_declare_the_same_key(tmp_path: Path) -> None:
    (problem,) = refused(folder(tmp_path, all="swap_gib = 24", gpu="swap_gib = 8"))
    assert problem.startswith("group_data/gpu.py: swap_gib is declared in group_data/all.py too")
    assert "only lab and production may redeclare" in problem


def test_an_environment_may_redeclare_a_key(tmp_path: Path) -> None:
    read = group_data.read(folder(tmp_path, all="swap_gib = 24", lab="swap_gib = 1\nhardware_profile = 'x'"))
    assert read.layers["lab"].data["swap_gib"] == 1


def test_a_profile_declares_itself_and_nothing_else(tmp_path: Path) -> None:
    first, second = refused(folder(tmp_path, i7=PROFILE.format(name="i9") + "swap_gib = 8\n"))
    assert "group_data/i7.py: swap_gib is declared in a hardware profile" in first
    assert "group_data/i7.py: profile.name is 'i9', but must be 'i7'" in second


def test_the_profile_is_named_by_environments_only(tmp_path: Path) -> None:
    (problem,) = refused(folder(tmp_path, all="hardware_profile = 'x'"))
    assert "group_data/all.py: hardware_profile is declared here" in problem


def test_a_misspelt_key(tmp_path: Path) -> None:
    (problem,) = refused(folder(tmp_path, all="swapiness = 150"))
    assert problem.startswith("group_data/all.py: swapiness is not a known key")
    assert problem.endswith("did you mean swappiness?")


def test_mistakes_of_all_files_are_named_at_once(tmp_path: Path) -> None:
    problems = refused(
        folder(
            tmp_path,
            all="from blueprint.model import OllamaRelease\n\nx = OllamaRelease(version='1', sha256='2')\n",
            gpu="\nfrom blueprint.model import Gpu\ngpus = [Gpu(bsu='01:00.0')]\n",
            lab="swap_gib = (\n",
            production="import nothing_of_that_name\n",
        )
    )
    assert [problem.partition(" is ")[0] for problem in problems] == [
        "group_data/all.py: ollama_release.version",
        "group_data/all.py: ollama_release.sha256",
        "group_data/gpu.py: line 3",
        "group_data/lab.py: line 1",
        "group_data/production.py: line 1",
    ]
    assert "unexpected keyword argument 'bsu'" in problems[2]


def test_private_and_imported_names_are_no_keys(tmp_path: Path) -> None:
    read = group_data.read(folder(tmp_path, all="import json\n_BASE = 1\nswap_gib: int = _BASE\n"))
    assert read.layers["all"].data == {"swap_gib": 1}


def test_command_line_beats_host_beats_environment_beats_all() -> None:
    read = group_data.read()
    host = group_data.Layer("host", "production.yaml", {"swap_gib": 2, "swappiness": 2})
    command_line = group_data.Layer("--data", "--data", {"swap_gib": 3, "hardware_profile": "i7_9700k"})
    blueprint = read.blueprint("production", host, command_line)
    assert (blueprint.swap_gib, blueprint.swappiness, blueprint.profile.name) == (3, 2, "i7_9700k")
    assert read.blueprint("production").swap_gib == 24
    assert blueprint.sources["swap_gib"] == "--data"
    assert blueprint.sources["swappiness"] == "production.yaml"
    assert blueprint.sources["gpus"] == "group_data/gpu.py"


def test_what_may_be_given_and_what_not() -> None:
    overrides = {"swap_gib": "8", "swapiness": 1, "whisper": {}, "phase": [0, "litellm"]}
    problems = group_data.validate_overrides(overrides, "--data")
    first, second, third = map(str, problems)
    assert first == "--data: swap_gib is '8', but must be a whole number."
    assert second.startswith("--data: swapiness is not a known key, but must be one of phase, ")
    assert second.endswith("did you mean swappiness?")
    assert third.startswith("--data: whisper is given here, but must be changed in group_data/")

"""group_data/: every key in one place, documented there, and mistakes named before pyinfra meets them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blueprint import DeclarationError, group_data

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


def test_roles_and_profiles() -> None:
    read = group_data.read()
    assert read.roles == ("augmenter", "gpu", "shared", "voicejury")
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
        "group_data/all.py: OllamaRelease.version",
        "group_data/all.py: OllamaRelease.sha256",
        "group_data/gpu.py: Gpu.bus",
        "group_data/gpu.py: Gpu.uuid",
        "group_data/gpu.py: Gpu.model",
        "group_data/gpu.py: Gpu.vram_mib",
        "group_data/gpu.py: Gpu.bsu",
        "group_data/lab.py: line 1",
        "group_data/production.py: line 1",
    ]
    assert "Gpu.bsu is not a known key" in problems[6] and problems[6].endswith("did you mean bus?")


STACK = """
from blueprint.model import Database, Http, Project, Service, Stack, Team

shared_databases = [Database("a", pool=0), Database("b", direct=-1)]
shared_stacks = [
    Stack(
        name="web",
        phase="litellm",
        services=(
            Service(name="one", image="a:1", memory="1x", health=Http("/")),
            Service(name="two", image="b:1", memory="1m", health=Http("health")),
        ),
    ),
    Stack(name="Back", phase="litellm", services=()),
]
_names = [service.memory for stack in shared_stacks for service in stack.services]
swap_gib = 1
"""


def test_mistakes_of_all_declarations_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    problems = refused(folder(tmp_path, shared=STACK))
    assert [problem.partition(" is ")[0].removeprefix("group_data/shared.py: ") for problem in problems] == [
        "Database a.pool",
        "Database b.direct",
        "Service one.memory",
        "Http.path",
        "Service two.memory",
        "Stack Back.name",
        "Stack Back.services",
        "line 16",
    ]
    assert problems[-1].partition(" is ")[2] == (
        "not read, nor what follows it, but must be read once the problems before it are gone."
    )


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("import sys\nsys.exit()\n", "line 2 is refused (SystemExit: )"),
        ("raise SystemExit(3)\n", "line 1 is refused (SystemExit: 3)"),
        ("raise ValueError('x' * 10**6)\n", "line 1 is refused (ValueError: xxx"),
        ("def _deeper():\n    _deeper()\n_deeper()\n", "is refused (RecursionError: "),
        (
            "x = \0\n",
            "line 1 is no Python (source code string cannot contain null bytes), but must be Python.",
        ),
        (f"x = {'(' * 5000}\n", "line 1 is no Python (too many nested parentheses)"),
        (b"# \xe9\n", "line 1 is refused (UnicodeDecodeError: "),
        ("swap_gib: int\n", "swap_gib is an annotation without a value, but must be a key with its value."),
        ("whatever: int\n", "whatever is an annotation without a value"),
        (
            "from blueprint.model import Gpu\ngpus = [Gpu('01:00.0')]\n",
            "line 2 is refused (TypeError: Gpu takes each field once and by its name)",
        ),
        (
            "from blueprint.model import Database\nx = Database('a', name='b')\n",
            "takes each field once and by its name, except for name, extensions, owner",
        ),
        ("profile = 'x'\n", "profile is 'x', but must be HardwareProfile(…)."),
        ("swap_gib, swapiness = 1, 2\n", "swapiness is not a known key"),
        ("if True:\n    swapiness = 1\n", "swapiness is not a known key"),
        ("for swapiness in (1,):\n    pass\n", "swapiness is not a known key"),
        ("from os.path import *\n", "join is not a known key"),
    ],
)
def test_a_file_that_does_not_do_what_it_should(tmp_path: Path, text: str | bytes, output: str) -> None:
    (tmp_path / "all.py").write_bytes(text.encode() if isinstance(text, str) else text)
    problems = refused(tmp_path)
    assert any(problem.startswith("group_data/all.py: ") and output in problem for problem in problems)
    assert max(map(len, problems)) < 400


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "all.py").mkdir()
    (tmp_path / "lab.py").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "gpu.py")
    assert [problem.partition(", but")[0] for problem in refused(tmp_path)] == [
        "group_data/all.py: the file is unreadable (Is a directory)",
        "group_data/gpu.py: the file is no regular file",
        "group_data/lab.py: the file is a link to a file that does not exist",
    ]


def test_a_file_is_named_where_it_fails_not_where_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    path = folder(tmp_path, broken_group="\nraise ValueError\n", lab="from broken_group import nothing\n")
    assert refused(path) == [
        "group_data/broken_group.py: line 2 is refused (ValueError: ), but must be a declaration as blueprint/model/ "
        "documents it."
    ]


@pytest.mark.parametrize("missing", ["all", "lab"])
def test_a_file_that_every_host_needs(missing: str) -> None:
    read = group_data.read()
    layers = {name: layer for name, layer in read.layers.items() if name != missing}
    with pytest.raises(DeclarationError) as error:
        group_data.GroupData(layers).blueprint("lab")
    file = f"group_data/{missing}.py"
    assert str(error.value) == f"{file}: the file is missing, but must be there; git restore {file}."


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


def test_what_may_be_overridden_and_what_not() -> None:
    overrides = {"swap_gib": "8", "swapiness": 1, "whisper": {}, "phase": [0, "litellm"]}
    problems = group_data.validate_overrides(overrides, "--data")
    first, second, third = map(str, problems)
    assert first == "--data: swap_gib is '8', but must be a whole number from 0 to 1024 (GiB)."
    assert second.startswith("--data: swapiness is not a known key, but must be one of phase, ")
    assert second.endswith("did you mean swappiness?")
    assert third.startswith("--data: whisper is set here, but must be changed in group_data/")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("swap_gib", "9" * 10**6),
        ("swap_gib", [[[[[[[[[]]]]]]]]]),
        ("swap_gib", 10.0**300),
        ("remove", [[["x"] * 1000] * 1000]),
        ("k" * 10**6, 1),
        ("", 1),
        ("colour\x1b[31m\n", 1),
    ],
)
def test_an_override_of_any_size_and_depth_is_refused_in_a_line(key: str, value: object) -> None:
    (problem,) = map(str, group_data.validate_overrides({key: value}, "--data"))
    assert len(problem) < 2000
    assert problem.isprintable()

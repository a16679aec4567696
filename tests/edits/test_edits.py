"""An edit of production's declarations breaks no test of the code.

Each is made in a copy of the tree; then `make regenerate` and `make unit` run there. That takes as long as `make unit`
ten times; `make edits UNIT=tests/production` runs only the tests that read what production declares.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.copies import copy_checkout
from tests.unit.paths import CHECKOUT

# The virtual environment is the checkout's, and as new as it is there.
MAKE = ("make", "--no-print-directory", "--old-file=.venv/installed")


def run(tree: Path, *command: str) -> str:
    """Run a command in the copy, as from a shell."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-8000:]}"
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the checkout, what is not committed included, with its tests' programs."""
    copy_checkout(tmp_path)
    (tmp_path / ".git/info/exclude").write_text(".venv\n")
    (tmp_path / ".venv").symlink_to((CHECKOUT / ".venv").resolve())
    return tmp_path


def found(tree: Path, file: str, pattern: str) -> str:
    """The first group of a pattern in a file of the copy."""
    match = re.search(pattern, (tree / file).read_text(encoding="utf-8"), re.DOTALL)
    assert match, f"{file} has nothing like {pattern}"
    return match[1]


def replace(tree: Path, file: str, pattern: str, replacement: str | Callable[[re.Match[str]], str]) -> None:
    """Replace the first match of a pattern in a file of the copy."""
    text = (tree / file).read_text(encoding="utf-8")
    edited, count = re.subn(pattern, replacement, text, count=1, flags=re.DOTALL)
    assert count and edited != text, f"{file} has nothing like {pattern} to replace"
    (tree / file).write_text(edited, encoding="utf-8")


def a_larger_pool(tree: Path) -> None:
    replace(tree, "group_data/renov_bati.py", r"pool=(\d+)", lambda match: f"pool={int(match[1]) + 3}")


def two_models_on_each_others_cards(tree: Path) -> None:
    card = r'(?<=name="{}", gpu=")([\w-]+)'
    vision, reasoning = (
        found(tree, "group_data/gpu.py", card.format(name)) for name in ("vision", "reasoning")
    )
    replace(tree, "group_data/gpu.py", card.format("vision"), reasoning)
    replace(tree, "group_data/gpu.py", card.format("reasoning"), vision)


def a_fifth_project(tree: Path) -> None:
    shutil.copy(tree / "tests/unit/fifth_project.py", tree / "group_data/shop.py")


def a_restore_test_on_saturdays(tree: Path) -> None:
    schedule = r'(?<=name="backup-restore-test", schedule=")[^"]+'
    replace(tree, "group_data/all.py", schedule, "0 6 * * 6")


def an_earlier_alert_of_the_disk(tree: Path) -> None:
    replace(tree, "group_data/shared.py", r"disk_alert_percent=\d+", "disk_alert_percent=90")


def another_release_of_ollama(tree: Path) -> None:
    replace(tree, "group_data/gpu.py", r'(?<=ollama_version = ")[^"]+', "0.99.1")
    replace(tree, "group_data/gpu.py", r'(?<=ollama_sha256 = ")[^"]+', "b" * 64)


def a_model_with_a_fallback(tree: Path) -> None:
    other = found(tree, "group_data/shared.py", r'fallbacks=\{\n +"([^"]+)"')
    model = 'Model(name="groq-new", model="groq/new-model", rpm=10, tpm=6_000, timeout_s=30)'
    replace(tree, "group_data/shared.py", r"(?<=\n    models=\(\n)", f"        {model},\n")
    replace(
        tree, "group_data/shared.py", r"(?<=\n    fallbacks=\{\n)", f'        "groq-new": ("{other}",),\n'
    )


def an_open_port(tree: Path) -> None:
    replace(tree, "group_data/all.py", r"(?<=open_tcp_ports = \[)", "8443, ")


def a_system_that_is_not_tested(tree: Path) -> None:
    debian = found(tree, "group_data/all.py", r'(    System\(\n        id="debian",.*?\n    \),\n)')
    newer = re.sub(r'version="\d+"', 'version="14"', debian).replace("tested=True", "tested=False")
    assert newer != debian
    replace(tree, "group_data/all.py", r"(?<=\nsystems = \[\n)", newer)


def one_model_less(tree: Path) -> None:
    """One that nothing falls back to, and that has no other name."""
    text = (tree / "group_data/shared.py").read_text(encoding="utf-8")
    name = next(
        name for name in re.findall(r'Model\(name="([^"]+)", model=', text) if text.count(f'"{name}"') == 1
    )
    replace(tree, "group_data/shared.py", rf'        Model\(name="{re.escape(name)}", [^\n]*\),\n', "")


EDITS = (
    a_larger_pool,
    two_models_on_each_others_cards,
    a_fifth_project,
    a_restore_test_on_saturdays,
    an_earlier_alert_of_the_disk,
    another_release_of_ollama,
    a_model_with_a_fallback,
    an_open_port,
    a_system_that_is_not_tested,
    one_model_less,
)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_an_edit_leaves_the_unit_tests_green(tree: Path, edit: Callable[[Path], None]) -> None:
    edit(tree)
    run(tree, *MAKE, "regenerate")
    run(tree, *MAKE, "unit")


def test_what_is_generated_is_generated_once(tree: Path) -> None:
    run(tree, *MAKE, "regenerate")
    assert run(tree, "git", "diff", "--name-only") == ""

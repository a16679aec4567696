"""Which tests `make check` runs for a change."""

from __future__ import annotations

import pytest

from tests import affected
from tests.affected import Importers

UNIT = "tests/unit"
IMPORTERS: Importers = {
    "blueprint/model/__init__.py": [
        "operations/apt.py",
        f"{UNIT}/blueprint/test_model.py",
        f"{UNIT}/test_base.py",
    ],
    "blueprint/model/gpu.py": ["blueprint/model/__init__.py"],
    "operations/apt.py": ["phases/base.py", f"{UNIT}/test_apt.py"],
    "phases/base.py": [f"{UNIT}/test_base.py", "tests/host/test_base.py"],
    f"{UNIT}/fake_docker.py": [f"{UNIT}/script_host.py"],
    f"{UNIT}/script_host.py": [f"{UNIT}/files/test_watch.py"],
    f"{UNIT}/files/test_watch.py": [],
    f"{UNIT}/test_apt.py": [],
    f"{UNIT}/test_base.py": [],
    f"{UNIT}/test_docs.py": [],
    "lab/tests/test_standin_ollama.py": [],
    "lab/tests/test_standin_nango.py": [],
    "tests/production/test_declarations.py": [],
}
TEXTS = {
    "operations/apt.py": 'Script("apt/asks.sh")',
    f"{UNIT}/script_host.py": 'for folder in ("common", "watch")',
}


@pytest.mark.parametrize(
    ("file", "tests"),
    [
        (f"{UNIT}/test_apt.py", {f"{UNIT}/test_apt.py"}),
        ("operations/apt.py", {f"{UNIT}/test_apt.py"}),  # and not those of the phases, which are further away
        ("phases/base.py", {f"{UNIT}/test_base.py"}),  # and none that needs a machine
        ("blueprint/model/gpu.py", {f"{UNIT}/blueprint/test_model.py"}),
        ("files/apt/asks.sh", {f"{UNIT}/test_apt.py"}),
        ("files/watch/watch.py", {f"{UNIT}/files/test_watch.py"}),
        (f"{UNIT}/fake_docker.py", {f"{UNIT}/files/test_watch.py"}),
        (f"{UNIT}/files/conftest.py", {f"{UNIT}/files/test_watch.py"}),
        ("group_data/all.py", {"tests/production/test_declarations.py"}),
        ("docs/host.md", {f"{UNIT}/test_docs.py"}),
        ("lab/ollama/standin/api.py", {"lab/tests/test_standin_ollama.py"}),
        ("Makefile", set()),
    ],
)
def test_a_change_has_the_nearest_tests(file: str, tests: set[str]) -> None:
    assert affected.affected(file, IMPORTERS, lambda one: TEXTS.get(one, "")) == tests


def test_ruff_says_what_imports_what() -> None:
    importers = affected.importers()
    assert "tests/unit/test_affected.py" in importers["tests/affected.py"]

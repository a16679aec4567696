"""Which package may know which: arrows point from what is declared, and from phases, to what is to be on a host."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.unit.paths import CHECKOUT

PACKAGES = (
    "deploy",
    "phases",
    "blueprint",
    "group_data",
    "operations",
    "facts",
    "specs",
    "checks",
    "lab",
    "tests",
)
MAY_IMPORT = {
    "specs": {"specs"},
    "facts": {"facts", "specs"},
    "operations": {"operations", "facts", "specs"},
    "blueprint": {"blueprint", "group_data", "specs"},
    "phases": {"phases", "blueprint", "operations", "facts", "specs"},
    # Any host: nothing of the lab.
    "checks": {"checks", "phases", "blueprint", "operations", "facts", "specs"},
    # Declarations of their own: an edit of group_data/ concerns tests/production alone.
    "tests/unit": set(PACKAGES) - {"group_data"},
}


def imported(path: Path) -> set[str]:
    """Packages that a module imports, whether at its top or in a function."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_arrows_point_one_way(package: str) -> None:
    wrong = {
        path.relative_to(CHECKOUT).as_posix(): sorted(strange)
        for path in (CHECKOUT / package).rglob("*.py")
        if (strange := imported(path) & set(PACKAGES) - MAY_IMPORT[package])
    }
    assert wrong == {}


@pytest.mark.parametrize("package", ["specs", "blueprint"])
def test_what_is_declared_knows_no_pyinfra(package: str) -> None:
    paths = (CHECKOUT / package).rglob("*.py")
    assert [path.name for path in paths if "pyinfra" in imported(path)] == []


@pytest.mark.parametrize("folder", ["host", "services", "projects", "migration"])
def test_no_secret_is_made_where_tests_are_only_collected(folder: str) -> None:
    """A deploy gives each secret its format; a password made before it would stay."""
    opened = [
        f"{path.name}: {ast.unparse(node)}"
        for path in (CHECKOUT / "tests" / folder).glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) and "Secrets.open" in ast.unparse(node)
    ]
    assert opened == []

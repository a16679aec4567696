"""One style of docstrings: reST, except in operations, whose parameters pyinfra's documentation reads as `+ name:`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.unit.paths import CHECKOUT

FOLDERS = ("blueprint", "facts", "operations", "phases", "specs", "checks", "lab", "tests")
OPERATIONS = ("operation", "check", "notice")


def documented() -> Iterator[tuple[str, bool, str]]:
    """Name, whether it is an operation, and docstring of each function and class."""
    for path in (path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                decorators = (ast.unparse(decorator) for decorator in node.decorator_list)
                operation = any(name.partition("(")[0] in OPERATIONS for name in decorators)
                yield f"{path.relative_to(CHECKOUT)}: {node.name}", operation, text


def test_parameters_are_documented_in_one_style() -> None:
    found = list(documented())
    assert sum(operation for _, operation, _ in found) > 30
    for name, operation, text in found:
        pattern = r"^:(param|raises) " if operation else r"^(\+ [\w, ]+: |Raises `)"
        assert not re.search(pattern, text, re.MULTILINE), name

"""The unit tests of what changed: those nearest to each changed file, for `make check`.

    python -m tests.affected [REVISION]

Everything that differs from REVISION counts, by default from where the branch left main. A module has the tests that
import it, and those of its folder that import a package which offers it; a template or a script of the host has those
that name it, or import what names it. What lies further away is for `make unit`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath

CHECKOUT = Path(__file__).parent.parent
SUITES = ("tests/unit/", "tests/production/", "lab/tests/")
# Folders below which code names a file by the rest of its path.
NAMED_WITHIN = ("files", "templates", "tests/unit/fixtures")
# Folders that tests read whole.
READ_BY = {
    "group_data": "tests/production/",
    "docs": "tests/unit/test_docs.py",
    ".github": "tests/unit/test_workflows.py",
    "tests/unit/declarations": "tests/unit/blueprint/",
}

Importers = Mapping[str, Collection[str]]


def output(*command: str) -> str:
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


def fork_point() -> str:
    """The revision at which this branch left main; on main itself, its last commit."""
    return output("git", "merge-base", "HEAD", "main").strip()


def changed(revision: str) -> list[str]:
    """Files that differ from a revision, committed or not."""
    differing = output("git", "diff", "--name-only", revision)
    untracked = output("git", "ls-files", "--others", "--exclude-standard")
    return [*differing.splitlines(), *untracked.splitlines()]


def importers() -> Importers:
    """Of every Python file, those that import it."""
    ruff = f"{sys.prefix}/bin/ruff"
    graph: Importers = json.loads(output(ruff, "analyze", "graph", "--quiet", "--direction", "dependents"))
    return graph


def affected(file: str, importers: Importers, text: Callable[[str], str]) -> set[str]:
    """The files of tests that are nearest to a file.

    :param importers: of every Python file
    :param text: gives what stands in one
    """
    path = PurePosixPath(file)
    near = {file, *_offering(file, importers)}
    near |= {other for other in importers if any(name in text(other) for name in _names(path))}
    own = f"tests/unit/{path.parts[0]}/"
    for one in tuple(near):  # a package has many importers: those count that are tests of its own folder
        few = one == file or not one.endswith("/__init__.py")
        near |= {test for test in importers.get(one, ()) if few or test.startswith(own)}
    near |= {test for test in importers if _reads(PurePosixPath(test), path)}
    return {one for one in near if is_test(one)}


def is_test(file: str) -> bool:
    return file.startswith(SUITES) and PurePosixPath(file).name.startswith("test_")


def _offering(file: str, importers: Importers) -> set[str]:
    """Packages through which a module is imported, and modules of the tests through which theirs is."""
    offering: set[str] = set()
    last = {file}
    while last:
        last = {
            other for one in last for other in importers.get(one, ()) if _passes_on(one, other)
        } - offering
        offering |= last
    return offering


def _passes_on(file: str, importer: str) -> bool:
    return importer.endswith("/__init__.py") or (file.startswith(SUITES) and not is_test(importer))


def _names(path: PurePosixPath) -> list[str]:
    """How code names a file that it does not import; one of Python also by the folder that is copied with it."""
    for folder in NAMED_WITHIN:
        if path.is_relative_to(folder):
            within = path.relative_to(folder)
            folders = within.parents[:-1] if path.suffix == ".py" else ()
            return [str(within), *(f'"{name}"' for name in (within.name, *folders))]
    return []


def _reads(test: PurePosixPath, path: PurePosixPath) -> bool:
    """Whether a test reads a file that neither it nor what it imports names."""
    if path.name == "conftest.py":
        return test.is_relative_to(path.parent)
    if path.is_relative_to("lab"):  # lab/images/whisper/… has lab/tests/test_standin_whisper.py
        subject = test.stem.removeprefix("test_standin_")
        return str(test).startswith("lab/tests/") and any(part in subject for part in path.parts[1:-1])
    return any(path.is_relative_to(folder) and str(test).startswith(by) for folder, by in READ_BY.items())


if __name__ == "__main__":
    graph = importers()
    texts = {file: (CHECKOUT / file).read_text(encoding="utf-8") for file in graph}
    since = sys.argv[1] if len(sys.argv) > 1 else fork_point()
    tests = {test for file in changed(since) for test in affected(file, graph, texts.__getitem__)}
    sys.stdout.write("".join(f"{test}\n" for test in sorted(tests)))

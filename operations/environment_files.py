"""Which variables of environment files change: their names, never their values."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping

from facts.cache import cached_fact
from facts.environment_files import Variables
from specs.files import File

_NAME = re.compile(r"[A-Za-z0-9_.]+")


def variables(content: str) -> dict[str, str]:
    """sha256 of each value as it is written, by variable, as files/facts/environment-files.sh finds them."""
    found: dict[str, str] = {}
    name, value = "", ""
    for line in content.splitlines():
        if name:
            value += f"\n{line}"
        else:
            name, separator, value = line.partition("=")
            if not (separator and _NAME.fullmatch(name)):
                name = ""
                continue
        closed = len(value) > 1 and value.endswith("'") and not value.endswith("\\'")
        if closed or not value.startswith("'"):
            found[name] = hashlib.sha256(value.encode()).hexdigest()
            name = ""
    return found


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """The variables that change between two answers of `variables`: "TOKEN changed, PORT added"."""
    words = [
        *(f"{name} changed" for name in after if name in before and before[name] != after[name]),
        *(f"{name} added" for name in after if name not in before),
        *(f"{name} removed" for name in before if name not in after),
    ]
    return ", ".join(words) or "the same variables in another order"


def changed_variables(files: Iterable[File]) -> Iterator[str]:
    """A line for each environment file that is about to be replaced."""
    replaced = {file.path: file for file in files if file.path.endswith(".env")}
    if replaced:
        before = cached_fact(Variables, paths=list(replaced))
        for path, old in before.items():
            yield f"{path}: {difference(old, variables(replaced[path].data.decode()))}"

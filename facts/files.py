"""Files, directories and links of a host, by their paths."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

KINDS = {"f": "file", "d": "directory", "l": "link"}
# Where files are staged beside their destination (files/host/apply-tree.sh). One that is still there was
# left by a run that was killed.
STAGING = ".pyinfra-tree."


@dataclass(frozen=True)
class FileState:
    """What is at a path: its kind (`file`, `directory`, `link`, `special file`) and what can differ about it."""

    kind: str
    mode: int
    owner: tuple[str, str]  # name and number
    group: tuple[str, str]
    target: str = ""  # of a link
    sha256: str | None = None  # of a file that may be read


@dataclass(frozen=True)
class TreeState:
    """Answer of `Tree`: the state of each path that exists, and abandoned staging directories."""

    entries: dict[str, FileState] = field(default_factory=dict)
    abandoned: tuple[str, ...] = ()


class Tree(FactBase[TreeState]):
    """State of many paths in one question. Hashes, never contents.

    :param paths: absolute paths; links are looked at, not followed
    """

    def command(self, paths: Iterable[str]) -> StringCommand:
        """`find` for everything but the hashes: one process, and no quoting of its own to undo."""
        unique = list(dict.fromkeys(paths))
        folders = list(dict.fromkeys(path.rpartition("/")[0] or "/" for path in unique))
        every = [QuoteString(path) for path in unique]
        return StringCommand(
            *("find", *every, "-maxdepth", "0"),
            r"-printf 'path\t%y\t%m\t%u\t%U\t%g\t%G\t%p\t%l\n'",
            "2>/dev/null;",
            *("find", *every, "-maxdepth", "0", "-type", "f"),
            "-exec sha256sum -- {} + 2>/dev/null;",
            *("find", *(QuoteString(folder) for folder in folders), "-mindepth 1 -maxdepth 1 -type d"),
            rf"-name '{STAGING}*' -printf 'abandoned\t%p\n' 2>/dev/null; true",
        )

    @staticmethod
    def default() -> TreeState:
        """Nothing is there."""
        return TreeState()

    def process(self, output: list[str]) -> TreeState:
        """Read the answer of `command`."""
        return read_tree(output)


def read_tree(output: Iterable[str]) -> TreeState:
    """Read what `Tree.command` prints."""
    found: dict[str, FileState] = {}
    abandoned: list[str] = []
    for line in output:
        if line.startswith("path\t"):
            _, kind, mode, owner, uid, group, gid, path, target = line.split("\t", 8)
            found[path] = FileState(
                KINDS.get(kind, "special file"), int(mode, 8), (owner, uid), (group, gid), target
            )
        elif line.startswith("abandoned\t"):
            abandoned.append(line.partition("\t")[2])
        elif line:
            digest, _, path = line.partition("  ")
            if digest.startswith("\\"):  # sha256sum's mark for a name in which it has escaped backslashes
                digest, path = digest[1:], path.replace("\\\\", "\\")
            if len(digest) != 64:
                raise FactProcessError(f"not an answer of find or sha256sum: {line!r}")
            if path in found:  # it may have come into being between the two questions
                found[path] = replace(found[path], sha256=digest)
    return TreeState(found, tuple(abandoned))


class Contents(FactBase[dict[str, bytes]]):
    """Contents of files, for `--diff` and for nothing else. Never ask it for a file with secrets.

    :param paths: absolute paths of files; one that is missing is missing in the answer
    """

    def command(self, paths: Iterable[str]) -> StringCommand:
        """One base64 line per file, in front of its path."""
        return StringCommand(
            "for path in",
            *(QuoteString(path) for path in paths),
            '; do [ -f "$path" ] && printf "%s\\t%s\\n" "$(base64 -w0 -- "$path")" "$path"; done; true',
        )

    @staticmethod
    def default() -> dict[str, bytes]:
        """No file is there."""
        return {}

    def process(self, output: list[str]) -> dict[str, bytes]:
        """Read the answer of `command`."""
        contents = {}
        for line in output:
            encoded, _, path = line.partition("\t")
            try:
                contents[path] = base64.b64decode(encoded, validate=True)
            except binascii.Error as error:
                raise FactProcessError(f"contents of {path} are not base64: {error}") from error
        return contents

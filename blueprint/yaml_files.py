"""Files that people write, read with limits: none can hang a run or end it with a traceback.

A scalar stays the text that is written where YAML 1.1 would make a surprising number or date of it: `0123456`, `1_000`,
`12:30:45`, `2020-99-99`. Messages quote no file, because any may hold secrets.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from blueprint.problems import DeclarationError, Violation

LARGEST_KIB = 256
DEEPEST = 16


class _Refused(yaml.MarkedYAMLError):
    """YAML that is well-formed, and more than these files need."""

    def __init__(self, found: str, expected: str, mark: yaml.Mark) -> None:
        super().__init__(problem=found, problem_mark=mark)
        self.expected = expected


class _TextLoader(yaml.SafeLoader):
    """Takes each scalar for text, but an empty one and null."""

    anchors_allowed = False
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if self.depth > DEEPEST:
            raise _Refused("nested too deep", f"at most {DEEPEST} levels deep", mark)
        if getattr(event, "tag", None):
            raise _Refused("a tag", "a value, in quotes where it begins with !", mark)
        if event.anchor and not self.anchors_allowed:
            raise _Refused("an anchor or alias", "a value, in quotes where it begins with & or *", mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(event, yaml.AliasEvent) and not isinstance(node, yaml.ScalarNode):
            raise _Refused("an alias of a list or mapping", "that written out", mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Keys are text, and a mapping has none twice: PyYAML would take the last."""
        mapping: dict[Hashable, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused("a key of several values", "text", key.start_mark)
            if key.value in mapping:
                raise _Refused("a key that is there twice", "there once", key.start_mark)
            mapping[key.value] = self.construct_object(value, deep=True)
        return mapping


class _Loader(_TextLoader):
    """Knows truth values and decimal numbers as well."""

    anchors_allowed = True


_TextLoader.yaml_implicit_resolvers = {}
_TextLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?i:yes|no|true|false|on|off)\Z"), list("yYnNtTfFoO")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"-?(0|[1-9][0-9]{0,17})\Z"), list("-0123456789")
)


def expanded(path: str) -> Path:
    """A path that may begin with ~ or ~user; that of an unknown user stays as it is, and leads nowhere."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser() raises for an unknown user


def read(path: Path, file: str) -> bytes:
    """What is in a regular file.

    :param file: what messages call it
    :raises FileNotFoundError: the file does not exist
    :raises DeclarationError: the file cannot be read
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise _problem(file, "no regular file", "a regular file")
        if stat.S_ISREG(status.st_mode) and status.st_size > LARGEST_KIB * 1024:
            raise _problem(file, f"of {status.st_size // 1024} KiB", f"of at most {LARGEST_KIB} KiB")
        return path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():  # a disk that is not mounted, perhaps: no reason to begin anew
            raise _problem(file, "a link to a file that does not exist", "a file, or a link to one") from None
        raise
    except OSError as error:
        raise _problem(file, f"unreadable ({error.strerror})", "readable by you") from None


def parse(content: bytes, file: str, *, text_only: bool = False) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty one.

    :param file: what messages call it
    :param text_only: whether each value is text of one line
    :raises DeclarationError: the content is no YAML, no mapping, or uses more of YAML than these files need
    """
    try:
        document = yaml.load(content, Loader=_TextLoader if text_only else _Loader)  # noqa: S506 - SafeLoaders
    except yaml.reader.ReaderError as error:
        raise _problem(file, f"no text ({error.reason})", "YAML in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        key = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        found = error.problem if isinstance(error, _Refused) else f"no YAML ({_reason(error)})"
        expected = error.expected if isinstance(error, _Refused) else "YAML"
        raise DeclarationError([Violation(file, key, str(found), expected)]) from None
    if not isinstance(document, dict | None):
        raise _problem(file, kind(document), "a mapping of keys to values")
    return document or {}


def kind(value: object) -> str:
    """What a value is, without showing it: files get mixed up, and any may be one of secrets."""
    names: dict[type, str] = {dict: "a mapping", list: "a list", str: "text"}
    return names.get(type(value), f"a {type(value).__name__}") if value else "empty"


def _reason(error: yaml.MarkedYAMLError) -> str:
    """What PyYAML says, without what it quotes."""
    mark = error.problem_mark
    if mark and mark.buffer and mark.buffer[mark.pointer : mark.pointer + 1] == "\t":
        return "a tab; indent with blanks"
    return re.sub(r"'[^']*'", "…", error.problem or "")


def _problem(file: str, found: str, expected: str) -> DeclarationError:
    return DeclarationError([Violation(file, "the file", found, expected)])

"""Files, directories and links as they are to be on a host."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath


def _check_path(path: str) -> None:
    if not path.startswith("/") or str(PurePosixPath(path)) != path or path == "/" or ".." in path.split("/"):
        raise ValueError(f"path {path!r}: expected an absolute path without '..', '//' or a final '/'")
    if not path.isprintable():
        raise ValueError(f"path {path!r}: expected printable characters only")


def _check_access(path: str, mode: str, owner: str, group: str) -> None:
    if not re.fullmatch(r"0?[0-7]{3,4}", mode):
        raise ValueError(f'{path}: mode {mode!r}: expected octal digits, such as "0640"')
    for name in (owner, group):
        if not re.fullmatch(r"[a-z_0-9][a-z0-9_.-]*\$?", name):
            raise ValueError(f"{path}: {name!r} is not the name of a user or group")


@dataclass(frozen=True)
class File:
    """A regular file with exactly this content.

    :param path: absolute path; its directory exists or is declared as `Directory`
    :param content: text (UTF-8) or bytes
    :param mode: octal digits
    :param owner: name or number
    :param group: name or number
    :param secret: the content is never shown: not by `--diff`, and not by what its validation says
    :param validate: command that exits nonzero when it refuses the new content; `{path}` (unquoted) stands for the new
        file, which is then still in a private directory, under its own name; refused, the old file stays
    """

    path: str
    content: str | bytes = field(repr=False)
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    secret: bool = False
    validate: str | None = None

    def __post_init__(self) -> None:
        _check_path(self.path)
        _check_access(self.path, self.mode, self.owner, self.group)
        if self.validate is not None and "{path}" not in self.validate:
            raise ValueError(f"{self.path}: validate {self.validate!r} does not say {{path}}")

    @property
    def data(self) -> bytes:
        """The content as it is on the disk."""
        return self.content.encode() if isinstance(self.content, str) else self.content

    @property
    def sha256(self) -> str:
        """Hash of the content, as `sha256sum` prints it."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Directory:
    """A directory; what is in it is not looked at. Directories come first, in the order of the declaration."""

    path: str
    mode: str = "0755"
    owner: str = "root"
    group: str = "root"

    def __post_init__(self) -> None:
        _check_path(self.path)
        _check_access(self.path, self.mode, self.owner, self.group)


@dataclass(frozen=True)
class Link:
    """A symbolic link; `target` is what it says, absolute or relative. A file in its place is replaced."""

    path: str
    target: str

    def __post_init__(self) -> None:
        _check_path(self.path)
        if not self.target or not self.target.isprintable():
            raise ValueError(f"{self.path}: {self.target!r} is no target for a link")


@dataclass(frozen=True)
class Absent:
    """Nothing there: a file, a link or an empty directory is removed; a directory with content is an error."""

    path: str

    def __post_init__(self) -> None:
        _check_path(self.path)


Entry = File | Directory | Link | Absent

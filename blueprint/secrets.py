"""Passwords and keys: generated once or provided by the owner, kept in one file that only its owner can read.

`secrets/<environment>.yaml` nests as the names do: "postgres/litellm" is the entry `litellm` under `postgres`. Where
`secrets/recipients` lists age public keys (one a line), the file is `secrets/<environment>.yaml.age` instead, and
SOURCEFAST_AGE_IDENTITY names the file with the private key that opens it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import pyrage  # type: ignore[import-untyped]  # a binding without stubs
import yaml
from pydantic import PlainValidator, TypeAdapter, ValidationError

from blueprint import age, yaml_files
from blueprint.problems import DeclarationError, Violation
from blueprint.validation import problems_of, unexpected

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
# What stands in an example, or in a file that nobody has filled in yet.
_PLACEHOLDER = re.compile(
    r"change[-_ ]?(me|it|this).*|replace[-_ ]?(me|it|this).*|to[-_ ]?do|tbd|fixme|placeholder|null|none|~"
    r"|x{3,}|\*+|\.{3,}|…|your[-_].*|<.*>|\$\{.*\}|\{\{.*\}\}|\*MASKED\*",
    re.IGNORECASE,
)
# Control characters, and those without a width, such as a page that is copied from has them.
_UNSEEN = {"Cc", "Cf", "Zl", "Zp"}
# A key or a certificate, or several of them.
_PEM = re.compile(
    r"(?:-----BEGIN [A-Z0-9 ]+-----\n(?:(?!-----)[A-Za-z0-9+/=:, -]*\n)+-----END [A-Z0-9 ]+-----(?:\n|\Z))+"
)


def _single_value(text: object) -> None:
    """Refuse a value that no provider issues; an empty one counts as missing. No message shows the value."""
    if not isinstance(text, str | None):
        raise unexpected("text, in quotes where it begins with [", found=yaml_files.kind(text))
    if not text or not text.strip() or _is_of_lines(text):
        return
    if _UNSEEN & set(map(unicodedata.category, text)):
        raise unexpected("one line", found="text with a line break or another character that does not show")
    if text != text.strip():
        raise unexpected("the value alone", found="text with a blank before or behind it")
    if _PLACEHOLDER.fullmatch(text):
        raise unexpected("the value", "fill it in, or take its line away", found="a placeholder")


def _is_of_lines(text: str) -> bool:
    """Whether a value is what providers issue in several lines: PEM, or an object of JSON."""
    if _PEM.fullmatch(text):
        return True
    try:
        return text.startswith("{") and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


_VALUES = TypeAdapter(dict[str, Annotated[object, PlainValidator(_single_value)]])


class Secret(str):
    """The text of a secret, masked in a repr, a traceback or a list that is logged."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'*MASKED*'"


def password() -> str:
    """43 characters that need no quoting anywhere: 256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


class Secrets:
    """The secrets of one environment."""

    def __init__(self, environment: str, folder: Path, variables: Mapping[str, str]) -> None:
        self._folder = folder
        self._plain = folder / f"{environment}.yaml"
        self._encrypted = folder / f"{environment}.yaml.age"
        self._variables = variables
        self._values: dict[str, Any] = {}

    @classmethod
    def open(
        cls, environment: str, folder: Path = Path("secrets"), variables: Mapping[str, str] = os.environ
    ) -> Secrets:
        """Read the file of an environment; a missing file is an empty one.

        With recipients, a file in clear is encrypted at once.

        :param environment: "lab" or "production"
        :param folder: made with mode 0700 where it is missing
        :param variables: where SOURCEFAST_AGE_IDENTITY is looked up
        :raises DeclarationError: the file is wrong, unreadable, or readable by others
        """
        opened = cls(environment, folder, variables)
        with opened._lock():
            opened._values = opened._read()
            if opened._plain.exists() and opened._recipients():
                opened._write()
        return opened

    def __repr__(self) -> str:
        return f"Secrets({self.file})"

    @property
    def file(self) -> str:
        """Path of the file that keeps them."""
        return str(self._encrypted if self._encrypted.exists() or self._recipients() else self._plain)

    @property
    def names(self) -> list[str]:
        """Names of all secrets that have a value, "postgres/litellm"."""
        return [name for name in map("/".join, _leaves(self._values)) if self.has(name)]

    def generated(self, name: str, make: Callable[[], str] = password) -> Secret:
        """Read a secret that only the platform uses; the first call makes it.

        :param name: "postgres/litellm"
        :param make: makes a new one
        """
        if (value := self._get(name)) is not None:
            return value
        with self._lock():
            self._values = self._read()  # another run may have made it meanwhile
            if (value := self._get(name)) is not None:
                return value
            self._put(name, make())
            self._write()
        return Secret(self._get(name) or "")

    def forget(self, name: str) -> None:
        """Drop a generated secret, so that the next run makes a new one.

        :raises DeclarationError: the name has no value
        """
        with self._lock():
            self._values = self._read()
            if self._get(name) is None:
                raise self._refused(name, "not there", "the name of a secret in it")
            *parents, leaf = name.split("/")
            node = self._values
            for part in parents:
                node = node[part]
            del node[leaf]
            self._write()

    def provided(self, name: str) -> Secret:
        """Read a secret that a provider issued, such as "telegram/token".

        :raises DeclarationError: the file does not have it
        """
        if problems := self.missing([name]):
            raise DeclarationError(problems)
        return Secret(self._get(name) or "")

    def has(self, name: str) -> bool:
        """Whether the file has a value for the name of an optional secret."""
        return self._get(name) is not None

    def missing(self, names: Iterable[str]) -> list[Violation]:
        """A violation for each name without a value, with where to write it."""
        problems: list[Violation] = []
        for name in names:
            try:
                if not self.has(name):
                    expected = "the value that its provider issued"
                    remedy = self.how_to_write(name)
                    if similar := get_close_matches(name, self.names, 1, 0.9):
                        remedy += f"; is {similar[0]} there meant for it?"
                    problems.append(Violation(self.file, name, "missing", expected, remedy))
            except DeclarationError as error:
                problems += error.problems
        return problems

    def how_to_write(self, name: str) -> str:
        """How a person writes a value into the file, for the end of a sentence."""
        # Not a line that can be copied as it is: of two such, the second would repeat the name that both are below.
        *parents, leaf = name.split("/")
        entry = f'{leaf}: "…"' + (
            f", below {' and '.join(f'{parent}:' for parent in parents)}" if parents else ""
        )
        if self.file == str(self._plain):
            return f"write it there as {entry}"
        return f"decrypt the file with age, write it there as {entry}, and encrypt it again"

    # one name

    def _get(self, name: str) -> Secret | None:
        node: Any = self._values
        for part in name.split("/"):
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict):
            raise self._refused(name, "a mapping", "text")
        return Secret(node) if node and node.strip() else None

    def _put(self, name: str, value: str) -> None:
        *parents, leaf = name.split("/")
        node = self._values
        for part in parents:
            if node.get(part) is None:  # its last line was taken away
                node[part] = {}
            node = node[part]
            if not isinstance(node, dict):
                raise self._refused(
                    name, f"below the text of {part}", f"in a mapping {part}", "move that text"
                )
        node[leaf] = value

    # the file

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self._folder / ".lock").open("w")
        except OSError as error:
            found = f"not one that can be written ({error.strerror})"
            raise DeclarationError([Violation(str(self._folder), "the folder", found, "yours")]) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Any]:
        encrypted = os.path.lexists(self._encrypted)
        if encrypted and os.path.lexists(self._plain):
            found = f"there twice, as {self._plain.name} too"
            raise self._refused("the file", found, "there once", "delete the stale one")
        path = self._encrypted if encrypted else self._plain
        try:
            content = yaml_files.read(path, self.file)
        except FileNotFoundError:
            return {}
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise self._refused("the file's mode", f"{mode:04o}", "0600", f"run `chmod 600 {path}`")
        values = yaml_files.parse(self._decrypt(content) if encrypted else content, self.file, text_only=True)
        self._validate(_leaves(values))
        return values

    def _validate(self, leaves: Mapping[tuple[str, ...], object]) -> None:
        """Refuse impossible names and values; an impossible name is not shown, because it may be a value."""
        problems: list[Violation] = []
        for path in leaves:
            if wrong := [part for part in path if not _NAME.fullmatch(part)]:
                above = "/".join(path[: path.index(wrong[0])])
                found = "one with a slash" if "/" in wrong[0] else "one with other characters"
                expected = "letters, digits, -, _ and ., nested where a secret's name has a slash"
                key = f"a name below {above}" if above else "a name"
                problems.append(Violation(self.file, key, found, expected))
        try:
            _VALUES.validate_python({"/".join(path): value for path, value in leaves.items()})
        except ValidationError as error:
            problems += problems_of(error, file=self.file)
        if problems:
            raise DeclarationError(problems)

    def _write(self) -> None:
        content = yaml.safe_dump(self._values, allow_unicode=True, sort_keys=True).encode()
        recipients = self._recipients()
        try:
            if recipients or self._encrypted.exists():
                everyone = recipients or [key.to_public() for key in self._identities()]
                _replace(self._encrypted, pyrage.encrypt(content, everyone))
                self._plain.resolve().unlink(missing_ok=True)
                self._plain.unlink(missing_ok=True)
            else:
                _replace(self._plain, content)
        except OSError as error:
            raise self._refused(
                "the file", f"not written ({error.strerror or error})", "one that can be written"
            ) from None

    # age

    def _recipients(self) -> list[pyrage.x25519.Recipient]:
        return age.recipients(self._folder / "recipients")

    def _identities(self) -> list[pyrage.x25519.Identity]:
        return age.identities(self._variables, self._encrypted)

    def _decrypt(self, content: bytes) -> bytes:
        try:
            return bytes(pyrage.decrypt(content, self._identities()))
        except pyrage.DecryptError as error:
            other = "No matching keys" in str(error)
            found = "encrypted for another identity" if other else "damaged, or not encrypted by age"
            raise self._refused(
                "the file", found, f"one that {age.IDENTITY_VARIABLE}'s identity opens"
            ) from None

    def _refused(self, key: str, found: str, expected: str, remedy: str = "") -> DeclarationError:
        return DeclarationError([Violation(self.file, key, found, expected, remedy)])


def _leaves(node: Mapping[str, Any]) -> dict[tuple[str, ...], object]:
    """Values by the names that lead to them, outermost first."""
    leaves: dict[tuple[str, ...], object] = {}
    for name, value in node.items():
        below = _leaves(value) if isinstance(value, dict) else {(): value}
        leaves |= {(name, *path): leaf for path, leaf in below.items()}
    return leaves


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place whole or not at all, readable by its owner only from its first byte.

    Where the path is a link, the file is put where that leads.
    """
    path = path.resolve()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

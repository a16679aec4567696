"""Passwords and keys: generated once or provided by the owner, kept in one file that only its owner can read.

`secrets/<environment>.yaml` nests as the names do: "postgres/litellm" is the entry `litellm` under `postgres`. Where
`secrets/recipients` lists age public keys (one a line), the file is `secrets/<environment>.yaml.age` instead, and
SOURCEFAST_AGE_IDENTITY names the file with the private key that opens it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]  # a binding without stubs
import yaml

from blueprint import yaml_files
from blueprint.problems import DeclarationError, Problem

IDENTITY_VARIABLE = "SOURCEFAST_AGE_IDENTITY"
RECIPIENTS_FILE = "recipients"


class Secret(str):
    """A secret's text. It shows only where it is asked for, not in a repr, a traceback or a list that is logged."""

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
        """Read the file of an environment; none is an empty one.

        A file that was written in clear is encrypted here once recipients are configured.

        :param environment: "lab" or "production"
        :param folder: made with mode 0700 where it is missing
        :param variables: where SOURCEFAST_AGE_IDENTITY is looked up
        :raises DeclarationError: where the file cannot be read, is no YAML, or can be read by others
        """
        opened = cls(environment, folder, variables)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with opened._lock():
            opened._values = opened._read()
            if opened._plain.exists() and opened._recipients():
                opened._write()
        return opened

    def __repr__(self) -> str:
        return f"Secrets({self.file})"

    @property
    def file(self) -> str:
        """Where they are kept."""
        return str(self._encrypted if self._encrypted.exists() or self._recipients() else self._plain)

    @property
    def names(self) -> list[str]:
        """Of all that have a value, "postgres/litellm"."""
        return [name for name in _leaves(self._values) if self.has(name)]

    def generated(self, name: str, make: Callable[[], str] = password) -> Secret:
        """A secret that only the platform uses: made the first time it is asked for, the same ever after.

        :param name: "postgres/litellm"
        :param make: what makes a new one
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

        :raises DeclarationError: where there is no value for the name
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
        """A secret that somebody else issued, such as "telegram/token".

        :raises DeclarationError: where the owner has not written it into the file
        """
        if problems := self.missing([name]):
            raise DeclarationError(problems)
        return Secret(self._get(name) or "")

    def has(self, name: str) -> bool:
        """Whether there is a value for a name, for what is optional."""
        return self._get(name) is not None

    def missing(self, names: Iterable[str]) -> list[Problem]:
        """A problem for each name that a phase needs and that has no value, with where to write it."""
        problems: list[Problem] = []
        for name in names:
            try:
                if not self.has(name):
                    expected = "the value that its provider issued"
                    problems.append(Problem(self.file, name, "missing", expected, self.how_to_write(name)))
            except DeclarationError as error:
                problems += error.problems
        return problems

    def how_to_write(self, name: str) -> str:
        """What a person does with a value, for the end of a sentence."""
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
        if node is None or (isinstance(node, str) and not node.strip()):
            return None
        if isinstance(node, bool | float | dict | list):
            raise self._refused(name, f"a {type(node).__name__}", "text", "put it in quotes")
        return Secret(node)

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
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Any]:
        if self._encrypted.exists() and self._plain.exists():
            raise self._refused(
                "the file", f"there twice, as {self._plain.name} too", "there once", "delete the stale one"
            )
        path = self._encrypted if self._encrypted.exists() else self._plain
        try:
            content = path.read_bytes()
            mode = path.stat().st_mode & 0o777
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._refused("the file", f"unreadable ({error.strerror})", "readable by you") from None
        if mode & 0o077:
            raise self._refused("the file's mode", f"{mode:04o}", "0600", f"run `chmod 600 {path}`")
        try:
            values = yaml_files.parse(self._decrypt(content) if path == self._encrypted else content)
        except yaml.YAMLError as error:
            raise self._refused(yaml_files.where(error), "no YAML", "YAML") from None
        except UnicodeDecodeError:
            raise self._refused("the file", "no text", "YAML") from None
        if values is None:
            return {}
        if not isinstance(values, dict):
            raise self._refused("the file", f"a {type(values).__name__}", "a mapping of names")
        return values

    def _write(self) -> None:
        content = yaml.safe_dump(self._values, allow_unicode=True, sort_keys=True).encode()
        recipients = self._recipients()
        if recipients or self._encrypted.exists():
            everyone = recipients or [identity.to_public() for identity in self._identities()]
            _replace(self._encrypted, pyrage.encrypt(content, everyone))
            self._plain.unlink(missing_ok=True)
        else:
            _replace(self._plain, content)

    # age

    def _recipients(self) -> list[pyrage.x25519.Recipient]:
        path = self._folder / RECIPIENTS_FILE
        if not path.exists():
            return []
        try:
            return [pyrage.x25519.Recipient.from_str(line) for line in _lines(path)]
        except pyrage.RecipientError:
            raise DeclarationError(
                [Problem(str(path), "a line", "no age public key", "public keys such as age1…, one a line")]
            ) from None

    def _identities(self) -> list[pyrage.x25519.Identity]:
        path = Path(self._variables.get(IDENTITY_VARIABLE) or "")
        if not path.is_file():
            found = f"{path}, where no file is" if self._variables.get(IDENTITY_VARIABLE) else "not set"
            expected = f"the path of the age identity that opens {self._encrypted}"
            raise DeclarationError([Problem("environment variable", IDENTITY_VARIABLE, found, expected)])
        try:
            return [pyrage.x25519.Identity.from_str(line) for line in _lines(path)]
        except pyrage.IdentityError:
            found = "a file that is no age identity"
            expected = "a file as age-keygen writes it (AGE-SECRET-KEY-1…)"
            raise DeclarationError(
                [Problem("environment variable", IDENTITY_VARIABLE, found, expected)]
            ) from None

    def _decrypt(self, content: bytes) -> bytes:
        try:
            return bytes(pyrage.decrypt(content, self._identities()))
        except pyrage.DecryptError:
            raise self._refused(
                "the file", "encrypted for another identity", f"one that {IDENTITY_VARIABLE}'s identity opens"
            ) from None

    def _refused(self, key: str, found: str, expected: str, remedy: str = "") -> DeclarationError:
        return DeclarationError([Problem(self.file, key, found, expected, remedy)])


def _leaves(node: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}/")
        else:
            yield f"{path}{name}"


def _lines(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place whole or not at all, readable by its owner only from its first byte."""
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

"""The age keys of the secrets file: public ones that it is encrypted for, and the private one that opens it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pyrage  # type: ignore[import-untyped]  # a binding without stubs
from pydantic import AfterValidator, TypeAdapter, ValidationError

from blueprint import yaml_files
from blueprint.problems import DeclarationError, Violation
from blueprint.validation import Expected, problems_of

IDENTITY_VARIABLE = "SOURCEFAST_AGE_IDENTITY"
_PRIVATE = "AGE-SECRET-KEY-"  # what a private key begins with


def _recipient(key: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError:
        raise ValueError from None


PublicKey = Annotated[str, AfterValidator(_recipient), Expected("a public key of age, such as age1…")]
_RECIPIENTS = TypeAdapter(dict[str, PublicKey])


def recipients(path: Path) -> list[pyrage.x25519.Recipient]:
    """The public keys in a file, one a line; none where there is no file.

    :raises DeclarationError: with each line that is no public key
    """
    try:
        lines = _lines(path, str(path))
    except FileNotFoundError:
        return []
    if not lines:
        expected, remedy = "public keys of age, one a line", "delete it to keep the secrets in clear"
        raise DeclarationError([Violation(str(path), "the file", "without a key", expected, remedy)])
    try:
        return list(_RECIPIENTS.validate_python(lines).values())
    except ValidationError as error:
        raise DeclarationError(problems_of(error, file=str(path), show=_kind)) from None


def identities(variables: Mapping[str, str], encrypted: Path) -> list[pyrage.x25519.Identity]:
    """The private keys in the file that SOURCEFAST_AGE_IDENTITY names.

    :param variables: of the environment
    :param encrypted: what they open, for messages
    :raises DeclarationError: there are none
    """
    text = variables.get(IDENTITY_VARIABLE) or ""
    found = "a file without an age identity" if text else "not set"
    try:
        if text and (lines := _lines(yaml_files.expanded(text), f"{IDENTITY_VARIABLE}={text}")):
            return [pyrage.x25519.Identity.from_str(line) for line in lines.values()]
    except FileNotFoundError:
        found = f"{text}, where no file is"
    except pyrage.IdentityError:
        found = "a file that is no age identity"
    expected = f"the path of a file as age-keygen writes it ({_PRIVATE}1…) that opens {encrypted}"
    raise DeclarationError([Violation("environment variable", IDENTITY_VARIABLE, found, expected)])


def _lines(path: Path, file: str) -> dict[str, str]:
    """Lines that are neither empty nor a comment, each under its number."""
    try:
        text = yaml_files.read(path, file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DeclarationError([Violation(file, "the file", "no text", "text in UTF-8")]) from None
    lines = {f"line {number}": line.strip() for number, line in enumerate(text.splitlines(), 1)}
    return {number: line for number, line in lines.items() if line and not line.startswith("#")}


def _kind(line: object) -> str:
    return "a private key" if str(line).startswith(_PRIVATE) else "something else"

"""Names and texts, quoted for SQL and for psql."""

from __future__ import annotations

from pyinfra.api.exceptions import OperationValueError


def identifier(name: str) -> str:
    """A name, quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text, quoted for SQL."""
    if "\0" in text:
        raise OperationValueError("a text for Postgres cannot have a NUL in it")
    quoted = text.replace("'", "''")
    return " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def word(text: str) -> str:
    """A text as one argument of psql's own commands."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"

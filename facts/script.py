"""Questions that need more than a line of shell: scripts under files/facts/, sent whole as the command.

A fact has no standard input, unlike an operation (operations/script.py), so the text travels as an argument
of `sh`; nothing is installed on the host for it. The scripts are POSIX sh and answer in sections:

    @@name argument
    output of the program, line by line

A program that is missing leaves its section out or empty; the script itself always succeeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError

SCRIPTS = Path(__file__).resolve().parent.parent / "files" / "facts"
MARK = "@@"


def command(script: str, *args: str | int) -> StringCommand:
    """Command of a fact that runs `files/facts/<script>` with `args` as `$1` …; nothing secret among them."""
    text = (SCRIPTS / script).read_text()
    return StringCommand(
        "sh", "-c", QuoteString(text), QuoteString(script), *(QuoteString(str(arg)) for arg in args)
    )


def sections(output: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The titles of an answer's sections with their lines; what comes before the first title is dropped."""
    title: str | None = None
    lines: list[str] = []
    for line in output:
        if line.startswith(MARK):
            if title is not None:
                yield title, lines
            title, lines = line.removeprefix(MARK), []
        else:
            lines.append(line)
    if title is not None:
        yield title, lines


def from_json(line: str, program: str) -> Any:
    """What a line of JSON says.

    :param program: who answered, for the message
    :raises FactProcessError: where it is no JSON
    """
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise FactProcessError(f"not an answer of {program}: {line[:200]!r}") from error

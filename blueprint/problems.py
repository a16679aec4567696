"""What is wrong with the declarations, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from specs.problems import Problem

_KEY_LENGTH = 120


@dataclass(frozen=True)
class Violation:
    """One thing in the declarations that stops a run before anything is changed.

    :param file: where to look, relative to the project ("group_data/gpu.py", "production.yaml", "--data")
    :param key: the key in it ("ollama_instances.heavy.port")
    :param found: what it says; never a secret
    :param expected: the values that are allowed
    :param remedy: what to do, where `expected` does not say it
    """

    file: str
    key: str
    found: str
    expected: str
    remedy: str = ""

    @property
    def problem(self) -> Problem:
        """As the report of a run shows it."""
        return Problem(f"{self.file}: {self.key}", self.found, self.expected, self.remedy or "correct it")

    def __str__(self) -> str:
        key = self.key if len(self.key) <= _KEY_LENGTH else f"{self.key[:_KEY_LENGTH]}…"
        sentence = f"{self.file}: {key} is {self.found}, but must be {self.expected}"
        if self.remedy:
            sentence += f"; {self.remedy}"
        # A key comes as its file has it: a colour or a line break in it would act on the reader's terminal.
        sentence = "".join(c if c.isprintable() else repr(c)[1:-1] for c in sentence)
        return sentence if sentence.endswith("?") else f"{sentence}."


class DeclarationError(ValueError):
    """A declaration that makes no sense. Carries every problem that was found at once, not only the first."""

    def __init__(self, problems: Sequence[Violation]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)

    def in_file(self, file: str) -> DeclarationError:
        """The same error with the file's name, which a declaration cannot know when it is made."""
        return DeclarationError([replace(problem, file=problem.file or file) for problem in self.problems])


def render_problems(problems: Iterable[Violation]) -> str:
    """One readable report of all problems."""
    lines = [str(problem) for problem in problems]
    if len(lines) == 1:
        return lines[0]
    return "\n".join([f"{len(lines)} problems, nothing was changed:", *(f"  - {line}" for line in lines)])


def closest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt word: "did you mean heavy?", or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {matches[0]}?" if matches else ""

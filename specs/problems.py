"""What is wrong, with what a person can do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing of a host that is not as it should be.

    :param what: where or what it is, "container web"
    :param found: what it is; never a secret
    :param expected: what it should be
    :param remedy: what a person can do
    """

    what: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in (("found", self.found), ("expected", self.expected), ("fix", self.remedy)):
            lines.append(f"    {label + ':':<10}" + text.replace("\n", "\n" + 14 * " "))
        return "\n".join(lines)

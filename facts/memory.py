"""The available memory of a host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


@dataclass(frozen=True)
class MemoryState:
    """Answer of `Memory`.

    :param available_mib: what programs can still get without swapping; None where the kernel does not report it
    :param running: of the containers that were asked for, those that run
    """

    available_mib: int | None = None
    running: frozenset[str] = frozenset()


class Memory(FactBase[MemoryState]):
    """Available memory, and whether some containers have theirs already.

    :param containers: their names
    """

    def command(self, containers: Iterable[str] = ()) -> StringCommand:
        """The script and its arguments."""
        return script.command("memory.sh", *containers)

    @staticmethod
    def default() -> MemoryState:
        """Nothing is known."""
        return MemoryState()

    def process(self, output: list[str]) -> MemoryState:
        """Read the answer of `command`."""
        sections = dict(script.sections(output))
        words = " ".join(sections.get("available", ())).split()
        available = int(words[1]) // 1024 if len(words) > 1 and words[1].isdigit() else None
        return MemoryState(available, frozenset(line for line in sections.get("running", ()) if line))

"""Budget of the host's disk: swap, models, images, backups, logs (requirements 1.1, 5.5 and 11.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from blueprint.problems import Violation

_SIZE = re.compile(r"([1-9][0-9]*)([KMGkmg])B?")
_MIB = {"k": 1 / 1024, "m": 1, "g": 1024}


@dataclass(frozen=True)
class DiskUse:
    """A use of the disk.

    :param what: the user of the space
    :param mib: space, in MiB
    :param arithmetic: how `mib` was computed
    :param certain: whether `mib` is exact, and neither a ceiling nor an estimate
    """

    what: str
    mib: int
    arithmetic: str
    certain: bool = False


@dataclass(frozen=True)
class DiskBudget:
    """All uses of the disk, and its size.

    :param size_mib: of the file system, in MiB
    """

    uses: tuple[DiskUse, ...]
    size_mib: int

    @property
    def total_mib(self) -> int:
        """Sum of all uses, with ceilings and estimates."""
        return sum(use.mib for use in self.uses)

    @property
    def certain_mib(self) -> int:
        """Sum of the exact uses."""
        return sum(use.mib for use in self.uses if use.certain)

    def problems(self, file: str) -> Iterator[Violation]:
        """A problem, with its arithmetic, where the exact uses do not fit.

        :param file: where the machine is declared, for messages
        """
        if self.certain_mib > self.size_mib:
            parts = " + ".join(f"{use.what} {use.mib}" for use in self.uses if use.certain)
            yield Violation(
                file,
                "disk",
                f"asked for {parts} = {self.certain_mib} MiB",
                f"asked for at most its {self.size_mib} MiB",
                "take a smaller swap_gib, smaller models, or a larger disk",
            )

    def warnings(self) -> Iterator[str]:
        """A sentence where all uses together may not fit."""
        if self.total_mib > self.size_mib:
            parts = " + ".join(f"{use.what} {use.mib}" for use in self.uses)
            yield f"disk: {parts} = {self.total_mib} MiB, and it has {self.size_mib}"


def size_mib(size: str) -> int:
    """MiB of a size in the notation of Docker's settings, "10m" or "5GB", rounded up.

    :raises ValueError: for anything else
    """
    match = _SIZE.fullmatch(size)
    if match is None:
        raise ValueError(f"not a size: {size!r}")
    return -int(-int(match[1]) * _MIB[match[2].lower()] // 1)

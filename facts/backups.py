"""Backups of a host: the newest of each piece, how old it is and whether it is good."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


@dataclass(frozen=True)
class BackupState:
    """The newest backup of one piece.

    :param stamp: its name, the time at which it was made
    :param made: that time, in seconds since the epoch
    :param doubt: why it may not be what it should be; empty for a good one
    """

    stamp: str
    made: float
    doubt: str

    @property
    def age_s(self) -> float:
        """How old it is by this machine's clock."""
        return time.time() - self.made


class Backups(FactBase[dict[str, BackupState]]):
    """The newest backup of each piece, by its name ("postgres/shared-postgres/litellm").

    :param root: folder of the backups
    """

    def command(self, root: str) -> StringCommand:
        """The script and its argument."""
        return script.command("backups.sh", root)

    @staticmethod
    def default() -> dict[str, BackupState]:
        """No backup."""
        return {}

    def process(self, output: list[str]) -> dict[str, BackupState]:
        """Read the answer of `command`."""
        return read_backups(output)


def read_backups(output: Iterable[str]) -> dict[str, BackupState]:
    """Read what files/facts/backups.sh prints. A manifest that cannot be read is a doubt like another."""
    backups = {}
    for title, lines in script.sections(output):
        piece, _, stamp = title.rpartition(" ")
        try:
            answer = json.loads("\n".join(lines))
            backups[piece] = BackupState(stamp, float(answer["time"]), answer["doubt"])
        except (ValueError, KeyError, TypeError):
            backups[piece] = BackupState(stamp, 0.0, "its manifest cannot be read")
    return backups

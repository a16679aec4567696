"""Backups: their age and their last restore test (requirements 5.5)."""

from __future__ import annotations

import pytest

from blueprint import backup
from blueprint.applied import Applied
from checks.expect import expect
from checks.server import Server
from facts.backups import Backups

pytestmark = pytest.mark.litellm

HOUR_S = 3600
BY_HAND = "`make backup-list` shows what there is; the log of the cron job says why; backup-now.sh makes one"


def test_piece_has_a_young_and_good_backup(server: Server, piece: str) -> None:
    """The newest backup of the piece is good, not smaller than it may be, and of the last night."""
    newest = server.fact(Backups, root=server.blueprint.backups.root).get(piece)
    limit = server.blueprint.backups.max_age_h
    state = "none"
    if newest:
        young = newest.age_s <= limit * HOUR_S
        state = newest.doubt or ("good" if young else f"{newest.age_s / HOUR_S:.0f} h old")
    expect(f"backup of {piece}", state, "good", BY_HAND)


def test_backups_are_private(server: Server, applied: Applied) -> None:
    """Nobody but root reads the backups, which hold all data of all projects."""
    root = server.blueprint.backups.root
    find = f"find {root} -perm /077 -not -type l -printf '%m %p\\n'"
    shown = server.run(f"test -d {root} && {find} | head -5").splitlines()
    expect(f"readable by others below {root}", shown, [], "chmod -R go= ; umask of who made them?")


def test_every_needed_piece_is_known(applied: Applied) -> None:
    """Every container with data has a piece: nothing is stateful without a backup."""
    pieces = backup.pieces(applied)
    without = [
        service.name for service in applied.services if service.stateful and not pieces.get(service.name)
    ]
    expect("containers without a backup", without, [], "declare their data")

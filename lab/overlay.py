"""Overlay mounts: a bootstrapped root as read-only lower layer, a lab's own changes above it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def mount(lower: Path | Sequence[Path], upper: Path, target: Path) -> None:
    """Mount `lower` at `target` with its changes kept in `upper`; does nothing where `target` is mounted.

    Directory renames stay copies, so that an upper folder can serve as a lower one later.

    :param lower: folder that is never written, or several, the topmost first
    :param upper: folder of the changes; beside it, with `.work` appended to its name, is overlayfs' own
    :param target: mount point
    """
    if target in mounts():
        return
    work = upper.with_name(f"{upper.name}.work")
    for folder in (upper, work, target):
        folder.mkdir(parents=True, exist_ok=True)
    layers = str(lower) if isinstance(lower, Path) else ":".join(map(str, lower))
    options = f"lowerdir={layers},upperdir={upper},workdir={work},redirect_dir=off,index=off,metacopy=off"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(target)], check=True)


def unmount(folder: Path) -> None:
    """Undo everything that is mounted at or below `folder`, the newest first."""
    for target in reversed(mounts()):
        if target == folder or folder in target.parents:
            subprocess.run(["umount", "--lazy", str(target)], check=True)


def mounts() -> list[Path]:
    """What is mounted in this mount namespace, the oldest first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [Path(line.split()[1].encode().decode("unicode_escape")) for line in lines]

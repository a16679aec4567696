"""Copies of this checkout: each is one itself, and has a lab, and secrets, of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab.paths import CHECKOUT


def copy_checkout(target: Path) -> None:
    """Copy what git knows, or would add, into a folder that is there or made; what is ignored stays behind.

    :param target: the copy's folder
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if not (CHECKOUT / name).is_symlink() and not (CHECKOUT / name).exists():
            continue  # removed, and not yet committed
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, target / name, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet"], cwd=target, check=True)
    subprocess.run(["git", "add", "--all"], cwd=target, check=True)

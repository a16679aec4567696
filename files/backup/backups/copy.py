"""A copy of all backups elsewhere, encrypted by restic."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from containers import ScriptError

from backups.settings import Restic

RESTIC_S = 4 * 3600
NO_REPOSITORY = 10  # exit status, since restic 0.17


def copy_elsewhere(settings: Restic, root: Path) -> None:
    """Copy what is new since the last copy, and remove old copies.

    :raises ScriptError: with the error output of restic
    """
    variables = {"RESTIC_REPOSITORY": settings.repository, "RESTIC_PASSWORD_FILE": settings.password_file}
    if settings.environment:
        lines = Path(settings.environment).read_text().splitlines()
        variables |= dict(line.split("=", 1) for line in lines if "=" in line)
    # If it fails for another reason, the next command fails for the same one and reports it.
    if _restic(variables, "cat", "config").returncode == NO_REPOSITORY:
        _must(variables, "init")
    _must(variables, "unlock")  # removes locks of killed runs, and keeps those of living ones
    _must(variables, "backup", "--quiet", "--tag", "sourcefast", "--exclude", f"{root}/*/*/*/.*", str(root))
    _must(
        variables,
        "forget",
        "--quiet",
        "--tag",
        "sourcefast",
        f"--keep-within={settings.keep_days}d",
        "--prune",
    )


def _must(variables: dict[str, str], *arguments: str) -> None:
    done = _restic(variables, *arguments)
    if done.returncode:
        reason = " ".join(done.stderr.split())[-300:]
        raise ScriptError(f"restic {arguments[0]} ended with {done.returncode}: {reason}")


def _restic(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["restic", *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=RESTIC_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ScriptError(f"restic: {error}") from None

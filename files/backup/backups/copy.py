"""A copy of all backups elsewhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from containers import ScriptError

from backups.settings import Restic

RESTIC_S = 4 * 3600
NO_REPOSITORY = 10  # exit status, since restic 0.17


def away(settings: Restic, root: Path) -> None:
    """Encrypted, by restic, which keeps what is new only.

    :raises ScriptError: with what restic said
    """
    variables = {"RESTIC_REPOSITORY": settings.repository, "RESTIC_PASSWORD_FILE": settings.password_file}
    if settings.environment:
        lines = Path(settings.environment).read_text().splitlines()
        variables |= dict(line.split("=", 1) for line in lines if "=" in line)
    # For any other reason than that there is none yet, what follows says why it cannot be reached.
    if _restic(variables, "cat", "config").returncode == NO_REPOSITORY:
        _must(variables, "init")
    _must(variables, "unlock")  # of a run that was killed: those of one that is alive stay
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
        said = " ".join(done.stderr.split())[-300:]
        raise ScriptError(f"restic {arguments[0]} ended with {done.returncode}: {said}")


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

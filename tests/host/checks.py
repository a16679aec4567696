"""The checks of checks/, run as a person runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from lab.paths import CHECKOUT


def run_checks(*arguments: str) -> tuple[set[str], str]:
    """The checks that fail, as a person runs them, and all that they print."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "checks",
        "-q",
        "--tb=line",
        "-p",
        "no:cacheprovider",
        *arguments,
    ]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    failed = re.findall(r"^(?:FAILED|ERROR) checks/(\S+?)\.py::(.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return {f"{module}::{name}" for module, name in failed}, done.stdout

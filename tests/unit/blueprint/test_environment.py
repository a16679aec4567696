"""What is about the lab stays in the lab, whatever the shell is set to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.unit.paths import CHECKOUT

# As in a shell in which the owner works on his server.
OWNERS = {**os.environ, "SOURCEFAST_ENV": "production"}


def test_tests_deploy_to_the_lab_alone() -> None:
    program = "import os, lab; print(os.environ['SOURCEFAST_ENV'])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, env=OWNERS, capture_output=True, text=True, check=True
    )
    assert done.stdout == "lab\n"


def test_make_deploy_is_about_the_lab(tmp_path: Path) -> None:
    """Its recipe, with a program in pyinfra's place that says where it would go."""
    program = tmp_path / "pyinfra"
    program.write_text("#!/bin/sh\necho $SOURCEFAST_ENV\n")
    program.chmod(0o755)
    done = subprocess.run(
        ["make", "--silent", "--old-file=lab", f"BIN={tmp_path}", "deploy"],
        cwd=CHECKOUT,
        env=OWNERS,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "lab\n"

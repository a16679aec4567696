"""What a run requires of its login."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from facts.sudo import SudoRefusal
from phases.login import sudo_problems
from tests.unit.hosts import scripted_host


def answer(sudo: str, folder: Path) -> str:
    """The fact's, where sudo is a script that does this."""
    if sudo:
        (folder / "sudo").write_text(f"#!/bin/sh\n{sudo}\n")
        (folder / "sudo").chmod(0o755)
    command = SudoRefusal().command().get_raw_value()
    done = subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": str(folder)}, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    return SudoRefusal().process(lines) if lines else SudoRefusal.default()


@pytest.mark.parametrize(
    ("sudo", "found"),
    [
        ("true", ""),
        ("echo a lecture >&2; echo sudo: a password is required >&2; exit 1", "sudo: a password is required"),
        ("", "/bin/sh: 1: sudo: not found"),
    ],
)
def test_a_run_needs_sudo_without_a_password(tmp_path: Path, sudo: str, found: str) -> None:
    with scripted_host({SudoRefusal: answer(sudo, tmp_path)}) as host:
        assert [problem.found for problem in sudo_problems()] == ([found] if found else [])
    assert host.asked == [{"_sudo": False}]

"""The variables of environment files, by their names and hashes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from facts.environment_files import Variables
from facts.script import SCRIPTS
from operations.environment_files import variables


def test_the_host_tells_variables_by_hashes(tmp_path: Path) -> None:
    text = "PLAIN=a=b\nQUOTED='it\\'s'\nEMPTY=\nLINES='one\nTWO=three\n'\nLAST=x\n"
    (tmp_path / "a.env").write_text(text)
    script = SCRIPTS / "environment-files.sh"
    done = subprocess.run(
        ["sh", str(script), str(tmp_path / "a.env"), str(tmp_path / "none")], capture_output=True, text=True
    )
    answer = Variables().process(done.stdout.splitlines())
    assert answer == {str(tmp_path / "a.env"): variables(text)}
    assert list(variables(text)) == ["PLAIN", "QUOTED", "EMPTY", "LINES", "LAST"]


def test_no_line_of_an_edited_environment_file_is_taken_for_a_name(tmp_path: Path) -> None:
    """Somebody may have written a value of several lines in double quotes: these lines are the secret."""
    text = 'KEY="-----BEGIN\ncanary\ncan/ary=\n\n# canary=1\n"\nLAST=x\n'
    (tmp_path / "a.env").write_text(text)
    script = SCRIPTS / "environment-files.sh"
    done = subprocess.run(["sh", str(script), str(tmp_path / "a.env")], capture_output=True, text=True)
    assert "ary" not in done.stdout
    answer = Variables().process(done.stdout.splitlines())
    assert answer == {str(tmp_path / "a.env"): variables(text)}
    assert list(variables(text)) == ["KEY", "LAST"]

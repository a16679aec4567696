from __future__ import annotations

from pathlib import Path

import pytest

from operations import script
from tests.unit.hosts import pyinfra

DEPLOY = """
from pathlib import Path
from pyinfra.api import operation
from operations import script
script.FILES = Path({files!r})

@operation()
def go():
    yield script.run("said.sh", "a b", 7, payload="canary\\nö\\n" + "x" * 1_000_000, stream={stream})

go(name="Run it")
"""


def run(tmp_path: Path, text: str, *flags: str, stream: bool = True) -> tuple[int, str]:
    (tmp_path / "said.sh").write_text(text)
    (tmp_path / "deploy.py").write_text(DEPLOY.format(files=str(tmp_path), stream=stream))
    result = pyinfra(tmp_path / "deploy.py", *flags)
    return result.returncode, result.stdout


def test_a_command_that_reads_gets_the_payload_and_not_the_script(tmp_path: Path) -> None:
    code, output = run(tmp_path, 'echo "$0 ($1) ($2) é"\nhead -n 2 | wc -c\ncat | wc -c\necho end\n')
    assert code == 0
    lines = [line.removeprefix("[@local] ") for line in output.splitlines() if line.startswith("[@local]")]
    assert lines[0] == "said.sh (a b) (7) é"
    assert lines[-1] == "end"


@pytest.mark.parametrize("flags", [(), ("-vvv", "--debug")])
def test_the_payload_shows_nowhere(tmp_path: Path, flags: tuple[str, ...]) -> None:
    _, output = run(tmp_path, "cat >/dev/null; ps -ef\n", *flags)
    assert "canary" not in output and "said.sh" in output


@pytest.mark.parametrize("stream", [True, False])
def test_a_failure_fails_and_says_so_once(tmp_path: Path, stream: bool) -> None:
    code, output = run(tmp_path, "cat >/dev/null; echo found x, expected y >&2; exit 3\n", stream=stream)
    assert code != 0
    assert output.count("found x, expected y") == 1
    assert "Traceback" not in output


def test_without_stream_success_is_quiet(tmp_path: Path) -> None:
    code, output = run(tmp_path, "cat >/dev/null; echo chatter\n", stream=False)
    assert code == 0 and "chatter" not in output


def test_every_script_of_the_project_can_be_sent() -> None:
    for path in script.FILES.rglob("*.sh"):
        command = script.run(str(path.relative_to(script.FILES)))
        assert path.read_text() == command.connector_arguments["_stdin"][0]  # type: ignore[index]

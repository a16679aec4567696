"""An Ollama instance and a container that take turns on a card: when it is tried, and the script that tries it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationValueError

from facts.files import FileState, Tree, TreeState
from operations import gpu
from operations.gpu import TimeSharing
from tests.unit.bench import Bench
from tests.unit.hosts import commands

UUID = "GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e"
SHARING = TimeSharing(
    port=11435, model="qwen3:4b", uuid=UUID, mib=5120, container="worker-heavy", answer_s=30
)
MARK = "/var/lib/sourcefast/time-sharing/worker-heavy"


def found(text: str) -> TreeState:
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return TreeState({MARK: FileState("file", 0o644, ("root", "0"), ("root", "0"), sha256=sha256)})


def tried(tree: TreeState, sharing: TimeSharing = SHARING) -> list[Any]:
    return commands(gpu.time_sharing, {Tree: tree}, sharing, state_file=MARK, lock="/lock")


def test_what_was_seen_to_work_is_not_tried_again() -> None:
    assert tried(found(f"{SHARING.mark}\n")) == []


def test_it_is_tried_first_and_after_a_change() -> None:
    (command,) = tried(TreeState())
    assert command.script == "gpu/time-sharing.sh"
    assert len(tried(found("another mark\n"))) == 1
    for changed in (
        replace(SHARING, model="qwen3:8b"),
        replace(SHARING, uuid="GPU-1"),
        replace(SHARING, mib=6000),
        replace(SHARING, container="worker"),
    ):
        assert len(tried(found(f"{SHARING.mark}\n"), changed)) == 1


@pytest.mark.parametrize("fields", [{"mib": 0}, {"answer_s": -1}])
def test_numbers_that_make_no_sense(fields: dict[str, int]) -> None:
    with pytest.raises(OperationValueError):
        tried(TreeState(), replace(SHARING, **fields))  # type: ignore[arg-type] # numbers both


# --- the script

OLLAMA = """
path=${!#}; path=/${path#*//*/}; data=
while (($# > 1)); do [ "$1" = --data ] && data=$2; shift; done
log "$path $data"
case $path in
/api/ps) cat "$STATE/loaded" ;;
/api/generate)
    case $data in
    *'"keep_alive":0'*) [ -e "$STATE/stuck" ] || echo '{"models":[]}' >"$STATE/loaded" ;;
    *) [ ! -e "$STATE/silent" ] || exit 22; echo '{"models":[{"name":"qwen3:4b"}]}' >"$STATE/loaded" ;;
    esac
    echo '{"done":true}' ;;
esac
"""
NVIDIA = """
[[ $* == "--id=GPU-"*" --query-gpu=memory.free "* ]] || exit 2
free=3138
grep -q qwen3 "$STATE/loaded" || free=7454
echo "$free"
"""


@pytest.fixture
def card(bench: Bench, tmp_path: Path) -> Path:
    """A card with its model, and a container that has it. Waiting takes no time."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "loaded").write_text('{"models":[{"name":"qwen3:4b"}]}\n')
    (state / "seen").write_text(f"PATH=/bin\0NVIDIA_VISIBLE_DEVICES={UUID}\0")
    bench.program("curl", OLLAMA)
    bench.program("timeout", 'shift; exec "$@"')
    bench.program("nvidia-smi", NVIDIA)
    bench.program("docker", 'cat "$STATE/seen"')
    bench.program("sleep", "exec /bin/sleep 0.05")
    bench.program("flock", "exit 0")
    return state


def run(bench: Bench, state: Path) -> Any:
    mark = state / "marks/worker-heavy"
    arguments = (11435, "qwen3:4b", UUID, 5120, "worker-heavy", 30, state / "lock", mark, SHARING.mark)
    return bench.run("gpu/time-sharing.sh", *arguments, STATE=str(state))


def test_the_model_leaves_the_container_has_its_card_and_the_model_is_back(bench: Bench, card: Path) -> None:
    done = run(bench, card)
    assert done.returncode == 0, done.stderr
    assert f"qwen3:4b left {UUID}: 7454 MiB free, 5120 needed" in done.stdout
    assert "qwen3:4b answered again after" in done.stdout
    assert json.loads((card / "loaded").read_text())["models"] == [{"name": "qwen3:4b"}]
    assert (card / "marks/worker-heavy").read_text() == f"{SHARING.mark}\n"
    asked = [call for call in bench.calls if call.startswith("/api/generate")]
    assert '"keep_alive":0' in asked[0]
    assert '"keep_alive":-1' in asked[1]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("file", "text", "output"),
    [
        ("seen", "", "container worker-heavy with no card"),
        ("seen", "NVIDIA_VISIBLE_DEVICES=GPU-other\0", "container worker-heavy with GPU-other"),
        ("silent", "", "no answer of qwen3:4b within 30 s"),
    ],
)
def test_what_does_not_work_is_reported_and_not_marked(
    bench: Bench, card: Path, file: str, text: str, output: str
) -> None:
    (card / file).write_text(text)
    done = run(bench, card)
    assert done.returncode == 1
    assert output in done.stderr
    assert "fix:" in done.stderr
    assert not (card / "marks").exists()


def test_a_model_is_back_whatever_went_wrong(bench: Bench, card: Path) -> None:
    (card / "seen").write_text("")
    run(bench, card)
    assert json.loads((card / "loaded").read_text())["models"] == [{"name": "qwen3:4b"}]

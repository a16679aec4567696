"""The check of the speech recogniser, and the wait before it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api.command import FunctionCommand

from facts.whisper_asr import WhisperAsr, WhisperAsrState, parse
from operations import whisper_asr
from operations.checks import ASKED_AGAIN_S
from operations.script import Script
from operations.whisper_asr import WhisperService, problems
from phases.hardware.whisper import service
from specs.problems import Problem
from tests.unit.bench import Bench
from tests.unit.declared import declared
from tests.unit.hosts import scripted_host
from tests.unit.paths import FIXTURES

# What the fact's script printed on a host where everything was right.
RECORDED = (FIXTURES / "whisper-asr.txt").read_text().splitlines()
TURBO = "models--mobiuslabsgmbh--faster-whisper-large-v3-turbo"
MEDIUM = "models--Systran--faster-whisper-medium"
RIGHT = parse(RECORDED)
DESIRED = service(declared())
RESTART = "systemctl restart shared-whisper.service, and journalctl -u shared-whisper.service if it stays"


def test_reads_the_service() -> None:
    assert (
        WhisperAsrState(
            status="running",
            image="onerahmet/openai-whisper-asr-webservice:v1.9.1-gpu",
            settings={
                "ASR_ENGINE": "faster_whisper",
                "ASR_MODEL": "large-v3-turbo",
                "ASR_MODEL_PATH": "/root/.cache/whisper",
                "ASR_QUANTIZATION": "int8",
                "ASR_DEVICE": "cuda",
            },
            gpus=("GPU-d4fb9c68-2b3c-a854-97ed-c82b3c580122",),
            memory=4 * 1024**3,
            answers=True,
            models={TURBO: True},
        )
        == RIGHT
    )


@pytest.mark.parametrize(
    "output",
    [[], ["@@container", "", "@@docs", "000", "", "@@models"], ["@@container", "@@docs", "200", "@@models"]],
)
def test_no_container_is_no_service(output: list[str]) -> None:
    """Whatever answers on its port."""
    assert parse(output) == WhisperAsr.default() == WhisperAsrState()


def test_reads_a_container_without_cards() -> None:
    inspected = {"image": "x:1", "status": "exited", "memory": 0, "devices": None, "settings": [""]}
    state = parse(["@@container", json.dumps(inspected), "@@docs", "503", "@@models", f"{TURBO} incomplete"])
    assert state == WhisperAsrState("exited", "x:1", models={TURBO: False})


def test_a_model_is_known_by_its_whole_name() -> None:
    state = WhisperAsrState(models={MEDIUM: True, TURBO: False, "models--x--faster-whisper-tiny.en": True})
    assert [state.has(name) for name in ("medium", "large-v3-turbo", "turbo", "tiny", "large-v3")] == [
        *(True, False, False, False, False)
    ]


@pytest.mark.parametrize("found", [RIGHT, replace(RIGHT, models={TURBO: True, MEDIUM: False})])
def test_what_is_right(found: WhisperAsrState) -> None:
    assert list(problems(found, DESIRED)) == []
    assert list(problems(found, replace(DESIRED, gpu="GPU-d4fb9c68-2b3c-a854-97ed-c82b3c580122"))) == []


@pytest.mark.parametrize(
    ("replaced", "expected"),
    [
        ({"status": None}, Problem(DESIRED.unit, "no container shared-whisper", "running", RESTART)),
        ({"status": "restarting"}, Problem(DESIRED.unit, "restarting", "running", RESTART)),
        ({"image": "x:2"}, Problem("image of shared-whisper", "x:2", DESIRED.image, RESTART)),
        ({"memory": 0}, Problem("memory limit of shared-whisper", "0 MiB", "4096 MiB", RESTART)),
        (
            {"settings": RIGHT.settings | {"ASR_MODEL": "medium"}},  # type: ignore[operator]
            Problem("ASR_MODEL of shared-whisper", "medium", "large-v3-turbo", RESTART),
        ),
        (
            {"settings": {k: v for k, v in RIGHT.settings.items() if k != "ASR_QUANTIZATION"}},
            Problem("ASR_QUANTIZATION of shared-whisper", "not set", "int8", RESTART),
        ),
        ({"gpus": ()}, Problem("GPU of shared-whisper", "no card", "GPU-d4fb9c68 alone", RESTART)),
        (
            {"gpus": ("GPU-d4fb9c68-1", "GPU-85c38fae-1")},
            Problem("GPU of shared-whisper", "GPU-d4fb9c68-1, GPU-85c38fae-1", "GPU-d4fb9c68 alone", RESTART),
        ),
        (
            {"answers": False},
            Problem("shared-whisper", "no answer on 127.0.0.1:9000/docs", "its documentation page", RESTART),
        ),
    ],
)
def test_what_is_wrong(replaced: dict[str, Any], expected: Problem) -> None:
    assert list(problems(replace(RIGHT, **replaced), DESIRED)) == [expected]


@pytest.mark.parametrize(
    ("models", "answer"),
    [
        ({}, "no model in its cache"),
        ({MEDIUM: True}, f"{MEDIUM} (whole)"),
        ({MEDIUM: True, TURBO: False}, f"{MEDIUM} (whole), {TURBO} (incomplete)"),
    ],
)
def test_a_model_that_is_not_there_whole(models: dict[str, bool], answer: str) -> None:
    (problem,) = problems(replace(RIGHT, models=models), DESIRED)
    assert (problem.found, problem.expected) == (answer, "large-v3-turbo, whole")


# --- the operation


class Host:
    """Answers one state after the other, as the service comes up."""

    def __init__(self, *states: WhisperAsrState) -> None:
        self.states = iter(states)

    def __call__(self, fact: object, **asked: object) -> WhisperAsrState:
        assert asked == {"container": "shared-whisper", "port": 9000}
        return next(self.states)


def serves(*states: WhisperAsrState, executing: bool = True) -> tuple[list[Any], list[str]]:
    with scripted_host({}, executing=executing) as host:
        host.get_fact = Host(*states)  # type: ignore[method-assign]
        return list(whisper_asr.serves._inner(service=DESIRED)), host.noops


def test_nothing_to_do_where_it_serves() -> None:
    assert serves(RIGHT) == ([], ["shared-whisper serves large-v3-turbo"])
    assert serves(RIGHT, executing=False) == ([], [])


def test_the_first_download_is_waited_for() -> None:
    (wait,), noops = serves(replace(RIGHT, answers=False, models={}), RIGHT)
    assert isinstance(wait, Script)
    assert wait.get_raw_value().endswith("shared-whisper 9000 3600 shared-whisper.service")
    assert noops == ["shared-whisper serves large-v3-turbo"]


def test_one_that_has_its_model_and_does_not_answer_at_once_is_asked_again(waited: list[float]) -> None:
    silent = replace(RIGHT, answers=False)
    assert serves(silent, silent, RIGHT) == ([], ["shared-whisper serves large-v3-turbo"])
    assert waited == [ASKED_AGAIN_S] * 2


def test_a_run_that_is_prepared_would_wait_and_judges_nothing() -> None:
    assert [type(command) for command in serves(WhisperAsrState(), executing=False)[0]] == [Script]
    assert serves(replace(RIGHT, models={MEDIUM: True}), executing=False)[0] == []


def test_another_model_fails_the_host_at_once() -> None:
    (failure,), noops = serves(replace(RIGHT, models={MEDIUM: True}))
    assert isinstance(failure, FunctionCommand)
    assert "shared-whisper: 1 problem" in failure.args[0]
    assert noops == []


# --- the wait


@pytest.fixture
def waiting(bench: Bench) -> Bench:
    """Nothing answers, there is no container, and the unit is up."""
    for name, script in {
        "curl": "exit 7",
        "docker": "exit 1",
        "journalctl": "echo last words",
        "sleep": "",
        "systemctl": "echo active",
    }.items():
        bench.program(name, script)
    return bench


def wait(bench: Bench, patience: int = 60) -> tuple[int, str]:
    done = bench.run("whisper/wait.sh", "asr", 9000, patience, "asr.service")
    return done.returncode, done.stdout + done.stderr


def test_waiting_ends_with_an_answer(waiting: Bench) -> None:
    waiting.program("curl", 'log "$@"')
    assert wait(waiting) == (0, "asr: answers\n")
    assert waiting.calls[0].endswith("http://127.0.0.1:9000/docs")


def test_waiting_shows_the_progress_of_the_download(waiting: Bench) -> None:
    size = waiting.folder / "size"
    size.write_text("10")
    waiting.program(
        "docker",
        f'if [ "$1" = inspect ]; then echo id; exit; fi\n'
        f'echo "$(cat {size})\t/root/.cache"; expr "$(cat {size})" + 60 >{size}',
    )
    status, answer = wait(waiting, patience=4)
    assert status == 1
    assert answer.startswith(
        "asr: not answering yet, 10 MiB of models in its cache\n"
        "asr: not answering yet, 130 MiB of models in its cache\n"
    )


def test_waiting_has_an_end(waiting: Bench) -> None:
    status, answer = wait(waiting, patience=0)
    assert status == 1
    assert "asr.service: last log lines:\n    last words\n" in answer
    assert "found:    no answer within 0 s\nexpected: an answer on http://127.0.0.1:9000/docs\nfix:" in answer


def test_a_container_that_ends_again_and_again_is_broken(waiting: Bench) -> None:
    waiting.program("docker", f'[ "$1" = inspect ] || exit 1\nlog x; wc -l <{waiting.log}')
    status, answer = wait(waiting)
    assert status == 1
    assert "found:    3 containers that ended before they answered\n" in answer


def test_a_unit_that_is_down_is_not_waited_for(waiting: Bench) -> None:
    waiting.program("systemctl", "echo failed")
    status, answer = wait(waiting)
    assert status == 1
    assert "found:    asr.service is failed\n" in answer


def test_the_declaration_is_what_has_to_run() -> None:
    assert (
        WhisperService(
            container="shared-whisper",
            unit="shared-whisper.service",
            port=9000,
            image="onerahmet/openai-whisper-asr-webservice:v1.9.1-gpu",
            settings=RIGHT.settings,
            gpu="GPU-d4fb9c68",
            memory_mib=4096,
        )
        == DESIRED
    )

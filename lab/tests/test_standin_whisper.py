"""The stand-in for whisper does what the real service's documentation and source say."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from lab.images.whisper import whisper_asr
from tests.unit.declarations.gpu import whisper

PROGRAM = Path(whisper_asr.__file__)
CARD = "GPU-d4fb9c68-2b3c-a854-97ed-c82b3c580122"
# Fields of faster-whisper's own segments, which the service writes as they are.
SEGMENT = {
    *("id", "seek", "start", "end", "text", "tokens", "avg_logprob", "compression_ratio", "no_speech_prob"),
    *("words", "temperature"),
}
TURBO = "models--mobiuslabsgmbh--faster-whisper-large-v3-turbo"


@dataclass
class Service:
    api: httpx.Client
    log: Path
    cache: Path


Start = Callable[..., Service]


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], **environment}
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=10)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []

    def begin(**environment: str) -> Service:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path / "log"
        settings = {"ASR_ENGINE": "faster_whisper", "ASR_MODEL_PATH": str(tmp_path / "cache"), **environment}
        command = [sys.executable, str(PROGRAM), "--host=127.0.0.1", f"--port={port}"]
        with log.open("wb") as output:
            variables = {"PATH": os.environ["PATH"], **settings}
            running.append(subprocess.Popen(command, env=variables, stderr=output))
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
        for _ in range(250):
            try:
                client.get("/docs")
                break
            except httpx.TransportError:
                time.sleep(0.02)
        return Service(client, log, tmp_path / "cache")

    yield begin
    for process in running:
        process.terminate()
        assert process.wait(5) == 0


def sound(seconds: float) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16000)
        recording.writeframes(b"\0\0" * int(16000 * seconds))
    return content.getvalue()


def test_docs_answer_and_describe_the_two_endpoints(start: Start) -> None:
    api = start().api
    docs = api.get("/docs")
    assert (docs.status_code, docs.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert api.get("/").headers["location"] == "/docs"
    assert set(api.get("/openapi.json").json()["paths"]) == {"/asr", "/detect-language"}
    assert api.get("/health").status_code == 404  # there is none, which is why /docs is the health check
    assert api.get("/asr").status_code == 405


def test_the_declared_model_is_loaded_and_cached(start: Start) -> None:
    service = start(
        ASR_MODEL=whisper.model,
        ASR_QUANTIZATION=whisper.quantization,
        NVIDIA_VISIBLE_DEVICES=CARD,
    )
    assert "Loaded faster_whisper model large-v3-turbo (int8) on cuda\n" in service.log.read_text()
    (snapshot,) = (service.cache / TURBO / "snapshots").iterdir()
    assert (service.cache / TURBO / "refs/main").read_text() == snapshot.name
    assert (snapshot / "model.bin").exists()


@pytest.mark.parametrize(("card", "expected"), [(CARD, "float32) on cuda"), ("void", "int8) on cpu")])
def test_quantization_is_not_what_compute_type_says(start: Start, card: str, expected: str) -> None:
    service = start(ASR_MODEL="medium", COMPUTE_TYPE="float16", NVIDIA_VISIBLE_DEVICES=card)
    assert f"model medium ({expected}" in service.log.read_text()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"ASR_MODEL": "huge"}, "Invalid model size 'huge', expected one of: tiny"),
        ({"ASR_QUANTIZATION": "int4"}, "Invalid MODEL_QUANTIZATION."),
        ({"ASR_ENGINE": "slow_whisper"}, "Unsupported ASR engine: slow_whisper"),
        ({"ASR_DEVICE": "cuda"}, "no CUDA-capable device is detected"),
        ({"ASR_QUANTIZATION": "float16"}, "Requested float16 compute type"),
    ],
)
def test_what_it_refuses_stops_it(tmp_path: Path, environment: dict[str, str], reason: str) -> None:
    defaults = {"ASR_ENGINE": "faster_whisper", "ASR_MODEL_PATH": str(tmp_path)}
    stopped = run({**defaults, **environment})
    assert stopped.returncode == 1
    assert reason in stopped.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_newer_drivers_libcuda_works_on_no_geforce(tmp_path: Path) -> None:
    asked = {"ASR_DEVICE": "cuda", "NVIDIA_VISIBLE_DEVICES": CARD}
    whisper_asr.configure(asked, compat=tmp_path)
    (tmp_path / "libcuda.so.560.35.05").touch()
    whisper_asr.configure({**asked, "ASR_DEVICE": "cpu"}, compat=tmp_path)
    with pytest.raises(ValueError, match="forward compatibility was attempted on non supported HW"):
        whisper_asr.configure(asked, compat=tmp_path)


def test_asr_in_every_format(start: Start) -> None:
    api = start(ASR_MODEL="tiny").api

    def asr(**query: str) -> httpx.Response:
        return api.post("/asr", params=query, files={"audio_file": ("talk 1.wav", sound(2.5))})

    text = asr()
    assert text.text == "Simulated transcript of 2.5 seconds.\n"
    assert text.headers["asr-engine"] == "faster_whisper"
    assert text.headers["content-disposition"] == 'attachment; filename="talk%201.wav.txt"'
    result = asr(output="json", language="fr", task="translate").json()
    assert set(result) == {"language", "segments", "text"}
    assert (result["language"], result["text"]) == ("fr", " Simulated translation of 2.5 seconds.")
    assert set(result["segments"][0]) == SEGMENT
    assert asr(output="docx").text == text.text
    assert asr(output="vtt").text.startswith("WEBVTT\n\n00:00.000 --> 00:02.500\n")
    assert asr(output="srt").text.startswith("1\n00:00:00,000 --> 00:00:02,500\n")
    assert asr(output="tsv").text == "start\tend\ttext\n0\t2500\tSimulated transcript of 2.5 seconds.\n"


def test_detect_language(start: Start) -> None:
    answer = start(ASR_MODEL="tiny").api.post("/detect-language", files={"audio_file": ("a.wav", sound(1))})
    assert set(answer.json()) == {"detected_language", "language_code", "confidence"}


def test_requests_without_sound(start: Start) -> None:
    api = start(ASR_MODEL="tiny").api
    missing = api.post("/asr", files={"other": ("a.wav", sound(1))})
    assert (missing.status_code, missing.json()["detail"][0]["loc"]) == (422, ["body", "audio_file"])
    assert api.post("/asr").status_code == 422
    noise = {"audio_file": ("a.wav", b"no sound")}
    assert (api.post("/asr", files=noise).status_code, api.post("/asr", files=noise).text) == (
        500,
        "Internal Server Error",
    )
    assert api.post("/asr", params={"encode": "false"}, files=noise).status_code == 200
    assert api.post("/docs").status_code == 405


def test_an_idle_model_is_unloaded_and_comes_back(start: Start) -> None:
    service = start(ASR_MODEL="tiny", MODEL_IDLE_TIMEOUT="1")
    for _ in range(100):
        if "Model unloaded due to timeout" in service.log.read_text():
            break
        time.sleep(0.05)
    service.api.post("/asr", files={"audio_file": ("a.wav", sound(1))})
    assert service.log.read_text().count("Loaded faster_whisper model tiny") == 2

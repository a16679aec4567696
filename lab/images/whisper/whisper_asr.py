"""A stand-in for openai-whisper-asr-webservice: the same settings, API, refusals and model cache; no recognition.

Standard library only. What it says about a recording is made up, but its length is the recording's.
Source: https://github.com/ahmetoner/whisper-asr-webservice (app/config.py, app/webservice.py) and faster-whisper's
list of models. The one line more than the real one logs is which model it loaded.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import io
import json
import os
import signal
import sys
import threading
import time
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

VERSION = "1.9.1"
SYSTRAN = (
    *("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en"),
    *("large-v1", "large-v2", "large-v3"),
)
DISTILLED = ("distil-small.en", "distil-medium.en", "distil-large-v2", "distil-large-v3")
REPOSITORIES = {
    **{name: f"Systran/faster-whisper-{name}" for name in SYSTRAN},
    **{name: f"Systran/faster-{name.replace('distil-', 'distil-whisper-', 1)}" for name in DISTILLED},
    "large": "Systran/faster-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}
REVISION = "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf"
FILES = ("config.json", "model.bin", "preprocessor_config.json", "tokenizer.json", "vocabulary.json")
ENGINES = ("openai_whisper", "faster_whisper", "whisperx")
LANGUAGES = {"de": "german", "en": "english", "es": "spanish", "fr": "french", "it": "italian"}
SOUNDS = (b"RIFF", b"ID3", b"\xff\xfb", b"\xff\xf3", b"OggS", b"fLaC", b"\x1aE\xdf\xa3")
IDLE_TICK_S = 1.0
COMPAT = Path("/usr/local/cuda/compat")


@dataclass(frozen=True)
class Config:
    """The service's settings. `idle_timeout` in seconds, 0 for never."""

    engine: str
    model: str
    model_path: Path
    device: str
    quantization: str
    idle_timeout: int
    sample_rate: int


def configure(environment: Mapping[str, str], compat: Path = COMPAT) -> Config:
    """The settings in an environment; raises ValueError for what the service refuses."""
    gpu = environment.get("NVIDIA_VISIBLE_DEVICES", "void") not in ("", "void", "none")
    config = Config(
        engine=environment.get("ASR_ENGINE", "openai_whisper"),
        model=environment.get("ASR_MODEL", "base"),
        model_path=Path(environment.get("ASR_MODEL_PATH", Path.home() / ".cache" / "whisper")),
        device=environment.get("ASR_DEVICE", "cuda" if gpu else "cpu"),
        quantization=environment.get("ASR_QUANTIZATION", "float32" if gpu else "int8"),
        idle_timeout=int(environment.get("MODEL_IDLE_TIMEOUT", "0")),
        sample_rate=int(environment.get("SAMPLE_RATE", "16000")),
    )
    if config.quantization not in {"float32", "float16", "int8"}:
        raise ValueError("Invalid MODEL_QUANTIZATION. Choose 'float32', 'float16', or 'int8'.")
    if config.engine not in ENGINES:
        raise ValueError(f"Unsupported ASR engine: {config.engine}")
    if config.engine == "faster_whisper" and config.model not in REPOSITORIES:
        known = ", ".join(REPOSITORIES)
        raise ValueError(f"Invalid model size '{config.model}', expected one of: {known}")
    if config.device == "cuda" and not gpu:
        raise ValueError("CUDA failed with error no CUDA-capable device is detected")
    if config.device == "cuda" and any(compat.glob("libcuda.so.*")):  # a newer driver's, on a GeForce
        raise ValueError("CUDA failed with error forward compatibility was attempted on non supported HW")
    if config.device == "cpu" and config.quantization == "float16":
        raise ValueError(
            "Requested float16 compute type, but the target device or backend do not support efficient float16"
            " computation."
        )
    return config


class Recogniser:
    """The loaded model: a place in the cache, laid out as the real one's, and a clock for idleness."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._loaded = False
        self._used = time.monotonic()
        self.load()
        if config.idle_timeout > 0:
            threading.Thread(target=self._watch, daemon=True).start()

    def load(self) -> None:
        """Have the model in memory, and in the cache."""
        with self._lock:
            self._used = time.monotonic()
            if self._loaded:
                return
            cache(self.config)
            self._loaded = True
        config = self.config
        say(f"Loaded {config.engine} model {config.model} ({config.quantization}) on {config.device}")

    def _watch(self) -> None:
        while True:
            time.sleep(IDLE_TICK_S)
            with self._lock:
                if self._loaded and time.monotonic() - self._used > self.config.idle_timeout:
                    self._loaded = False
                    say("Model unloaded due to timeout")


def cache(config: Config) -> None:
    """Leave in the cache what a download would have left."""
    if config.engine == "openai_whisper":
        config.model_path.mkdir(parents=True, exist_ok=True)
        (config.model_path / f"{config.model}.pt").touch()
        return
    repository = REPOSITORIES.get(config.model, config.model)
    folder = config.model_path / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / REVISION
    snapshot.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        (snapshot / file).touch()
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(REVISION)


def seconds(sound: bytes, encode: bool, sample_rate: int) -> float:
    """Length of a recording; raises ValueError where ffmpeg would find no sound.

    :param encode: whether it is a file of some kind; otherwise raw 16 bit samples
    :param sample_rate: samples a second of raw ones
    """
    if not encode:
        return len(sound) / 2 / sample_rate
    if sound.startswith(b"RIFF"):
        try:
            with wave.open(io.BytesIO(sound)) as recording:
                return float(recording.getnframes() / recording.getframerate())
        except (wave.Error, EOFError) as error:
            raise ValueError(f"Failed to load audio: {error}") from None
    if sound.startswith(SOUNDS) or sound[4:8] == b"ftyp":
        return len(sound) / 16_000  # compressed at 128 kbit/s
    raise ValueError("Failed to load audio: Invalid data found when processing input")


def transcript(length: float, language: str, task: str) -> dict[str, object]:
    """What is said in a recording of so many seconds."""
    text = f" Simulated {'translation' if task == 'translate' else 'transcript'} of {length:.1f} seconds."
    segment = {
        "id": 1,
        "seek": 0,
        "start": 0.0,
        "end": round(length, 2),
        "text": text,
        "tokens": [50365, 50414],
        "avg_logprob": -0.25,
        "compression_ratio": 0.9,
        "no_speech_prob": 0.01,
        "words": None,
        "temperature": 0.0,
    }
    return {"language": language, "segments": [segment], "text": text}


def written(result: dict[str, object], length: float, output: str) -> str:
    """A transcript in one of the formats; plain text for a format that there is not."""
    text = str(result["text"]).strip()
    match output:
        case "json":
            return json.dumps(result)
        case "vtt":
            return f"WEBVTT\n\n{clock(0, '.', False)} --> {clock(length, '.', False)}\n{text}\n\n"
        case "srt":
            return f"1\n{clock(0, ',', True)} --> {clock(length, ',', True)}\n{text}\n\n"
        case "tsv":
            return f"start\tend\ttext\n0\t{round(1000 * length)}\t{text}\n"
        case _:
            return f"{text}\n"


def clock(moment: float, mark: str, hours: bool) -> str:
    """A time in a subtitle; hours only where there are some, or where the format wants them."""
    milliseconds = round(moment * 1000)
    rest, milliseconds = divmod(milliseconds, 1000)
    minutes, second = divmod(rest, 60)
    hour, minute = divmod(minutes, 60)
    prefix = f"{hour:02d}:" if hours or hour else ""
    return f"{prefix}{minute:02d}:{second:02d}{mark}{milliseconds:03d}"


def openapi() -> dict[str, object]:
    """The description behind /docs, as far as clients read it."""

    def parameter(name: str, default: object, values: list[str] | None = None) -> dict[str, object]:
        kind = "boolean" if isinstance(default, bool) else "string"
        schema: dict[str, object] = {"type": kind, "default": default} | ({"enum": values} if values else {})
        return {"name": name, "in": "query", "required": False, "schema": schema}

    form = {"type": "object", "required": ["audio_file"], "properties": {"audio_file": {"type": "string"}}}
    body = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    answers = {"200": {"description": "Successful Response"}, "422": {"description": "Validation Error"}}
    asr = [
        parameter("encode", True),
        parameter("task", "transcribe", ["transcribe", "translate"]),
        parameter("language", None, sorted(LANGUAGES)),
        parameter("initial_prompt", None),
        parameter("vad_filter", False),
        parameter("word_timestamps", False),
        parameter("output", "txt", ["txt", "vtt", "srt", "tsv", "json"]),
    ]
    post = {"tags": ["Endpoints"], "requestBody": body, "responses": answers}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Whisper Asr Webservice", "version": VERSION},
        "paths": {
            "/asr": {"post": {**post, "parameters": asr}},
            "/detect-language": {"post": {**post, "parameters": asr[:1]}},
        },
    }


PAGE = """<!DOCTYPE html>
<html>
<head><title>Whisper Asr Webservice - Swagger UI</title></head>
<body><div id="swagger-ui">Simulated. The API is described in <a href="/openapi.json">/openapi.json</a>.</div></body>
</html>
"""


class Server(ThreadingHTTPServer):
    """The service on its port."""

    daemon_threads = True

    def __init__(self, host: str, port: int, recogniser: Recogniser) -> None:
        self.recogniser = recogniser
        super().__init__((host, port), Handler)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/":
            self._send(307, "text/plain", b"", {"Location": "/docs"})
        elif path == "/docs":
            self._send(200, "text/html; charset=utf-8", PAGE.encode())
        elif path == "/openapi.json":
            self._json(200, openapi())
        elif path in ("/asr", "/detect-language"):
            self._json(405, {"detail": "Method Not Allowed"})
        else:
            self._json(404, {"detail": "Not Found"})

    do_HEAD = do_GET  # noqa: N815 - the name http.server wants

    def do_POST(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if address.path not in ("/asr", "/detect-language"):
            known = address.path in ("/", "/docs", "/openapi.json")
            self._json(405 if known else 404, {"detail": "Method Not Allowed" if known else "Not Found"})
            return
        upload = self._upload(body)
        if upload is None:
            missing = {
                "type": "missing",
                "loc": ["body", "audio_file"],
                "msg": "Field required",
                "input": None,
            }
            self._json(422, {"detail": [missing]})
            return
        name, sound = upload
        config = self.server.recogniser.config
        encode = query.get("encode", "true").lower() not in ("false", "0", "no", "off")
        try:
            length = seconds(sound, encode, config.sample_rate)
        except ValueError as error:
            say(f"RuntimeError: {error}")
            self._send(500, "text/plain; charset=utf-8", b"Internal Server Error")
            return
        self.server.recogniser.load()
        if address.path == "/detect-language":
            self._json(200, {"detected_language": "english", "language_code": "en", "confidence": 0.97})
            return
        output = query.get("output", "txt")
        result = transcript(length, query.get("language", "en"), query.get("task", "transcribe"))
        headers = {
            "Asr-Engine": config.engine,
            "Content-Disposition": f'attachment; filename="{quote(name)}.{output}"',
        }
        self._send(200, "text/plain; charset=utf-8", written(result, length, output).encode(), headers)

    def _upload(self, body: bytes) -> tuple[str, bytes] | None:
        """Name and content of the form's `audio_file`."""
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            return None
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        for part in email.message_from_bytes(head + body, policy=email.policy.HTTP).walk():
            content = part.get_payload(decode=True)
            named = part.get_param("name", header="content-disposition") == "audio_file"
            if named and part.get_filename() and isinstance(content, bytes):
                return str(part.get_filename()), content
        return None

    def _json(self, status: int, answer: object) -> None:
        self._send(status, "application/json", json.dumps(answer).encode())

    def _send(self, status: int, kind: str, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """One line a request, as uvicorn writes it."""
        host, port = self.client_address[:2]
        say(f'{host}:{port} - "{self.requestline}" {arguments[1] if len(arguments) > 1 else ""}')


def say(text: str) -> None:
    """One line of the log."""
    sys.stderr.write(f"INFO:     {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-H", "--host", default="0.0.0.0")  # noqa: S104 - inside its container
    parser.add_argument("-p", "--port", type=int, default=9000)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # process 1 of a container has no default for it
    say(f"Started server process [{os.getpid()}]")
    try:
        recogniser = Recogniser(configure(os.environ))
    except ValueError as error:
        sys.stderr.write(f"ValueError: {error}\n")
        return 1
    say("Application startup complete.")
    say(f"Uvicorn running on http://{options.host}:{options.port} (Press CTRL+C to quit)")
    Server(options.host, options.port, recogniser).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())

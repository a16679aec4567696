"""What the environment says, read as Ollama does: what it cannot read it replaces by the default, with a warning.

Source: https://github.com/ollama/ollama/blob/main/envconfig/config.go
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOREVER = math.inf
UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
TRUE, FALSE = {"1", "t", "T", "TRUE", "true", "True"}, {"0", "f", "F", "FALSE", "false", "False"}


@dataclass(frozen=True)
class Settings:
    """Durations in seconds, sizes in bytes. `cuda_visible_devices` is None when it is not set."""

    host: str
    port: int
    models: Path
    keep_alive: float
    max_queue: int
    num_parallel: int
    context_length: int
    max_loaded_models: int
    flash_attention: bool
    kv_cache_type: str
    gpu_overhead: int
    cuda_visible_devices: str | None


def read(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment."""

    def text(name: str, default: str = "") -> str:
        return environment.get(name, "").strip().strip("\"'") or default

    def number(name: str, default: int) -> int:
        value = text(name)
        if re.fullmatch("[0-9]+", value):
            return int(value)
        if value:
            warn(name, value, default)
        return default

    def switch(name: str, default: bool) -> bool:
        value = text(name)
        return value in TRUE or (bool(value) and value not in FALSE) or (not value and default)

    def duration(name: str, default: float) -> float:
        value = text(name)
        seconds = parse_duration(value) if value else default
        if seconds is None:
            warn(name, value, default)
            return default
        return seconds

    host, port = parse_host(text("OLLAMA_HOST"))
    home = environment.get("HOME", "/root")
    return Settings(
        host=host,
        port=port,
        models=Path(text("OLLAMA_MODELS", f"{home}/.ollama/models")),
        keep_alive=duration("OLLAMA_KEEP_ALIVE", 300.0),
        max_queue=number("OLLAMA_MAX_QUEUE", 512),
        num_parallel=max(1, number("OLLAMA_NUM_PARALLEL", 1)),
        context_length=number("OLLAMA_CONTEXT_LENGTH", 0) or 4096,
        max_loaded_models=number("OLLAMA_MAX_LOADED_MODELS", 0) or 3,
        flash_attention=switch("OLLAMA_FLASH_ATTENTION", default=False),
        kv_cache_type=text("OLLAMA_KV_CACHE_TYPE", "f16"),
        gpu_overhead=number("OLLAMA_GPU_OVERHEAD", 0),
        cuda_visible_devices=environment.get("CUDA_VISIBLE_DEVICES"),
    )


def parse_host(value: str) -> tuple[str, int]:
    """Address and port of OLLAMA_HOST: `[scheme://]host[:port]`."""
    scheme, found, rest = value.partition("://")
    default_port = {"http": 80, "https": 443}.get(scheme, 11434) if found else 11434
    rest = (rest if found else value).rstrip("/")
    bracketed = re.fullmatch(r"\[(.*)\](?::(\d+))?", rest)
    host, port = bracketed.groups() if bracketed else (rest.partition(":")[0], rest.partition(":")[2])
    if port and (not port.isdecimal() or int(port) > 65535):
        log("ERROR", "invalid port, using default", port=port, default=default_port)
        port = ""
    return host or "127.0.0.1", int(port) if port else default_port


def parse_duration(value: str | float) -> float | None:
    """Seconds of a Go duration (`5m`, `1h30m`) or of a plain number; forever if negative; None if neither."""
    text = str(value).strip()
    try:
        seconds = float(text)
    except ValueError:
        number = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)"
        match = re.fullmatch(rf"([+-]?)((?:{number})+)", text)
        if match is None:
            return None
        seconds = sum(float(amount) * UNITS_S[unit] for amount, unit in re.findall(number, match[2]))
        if match[1] == "-":
            seconds = -seconds
    return FOREVER if seconds < 0 else seconds


def warn(name: str, value: str, default: object) -> None:
    """Say that a variable was not understood."""
    log("WARN", "invalid environment variable, using default", key=name, value=value, default=default)


def log(level: str, message: str, **attributes: object) -> None:
    """One line on standard error, in the form of Go's slog."""
    quoted = {name: _quote(str(value)) for name, value in attributes.items()}
    tail = "".join(f" {name}={value}" for name, value in quoted.items())
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    sys.stderr.write(f"time={stamp} level={level} source=standin msg={_quote(message)}{tail}\n")
    sys.stderr.flush()


def _quote(text: str) -> str:
    return text if re.fullmatch(r"[^\s\"=]+", text) else '"' + text.replace('"', '\\"') + '"'

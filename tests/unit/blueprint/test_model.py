"""A declaration refuses nonsense when it is made, and says what, where and what else."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from blueprint import DeclarationError
from blueprint.model import (
    AptRepository,
    CronJob,
    Declaration,
    DockerSettings,
    Gpu,
    HardwareProfile,
    OllamaInstance,
    OllamaModel,
    OllamaRelease,
    Paths,
    System,
    Thresholds,
    Watch,
    Whisper,
    mebibytes,
)
from blueprint.validation import shown

SOUND: dict[type[Declaration], dict[str, Any]] = {
    Gpu: {"bus": "01:00.0", "uuid": "GPU-85c38fae", "model": "RTX 3070", "vram_mib": 8192},
    OllamaModel: {"name": "qwen3:8b", "weights_mib": 4960, "layers": 36, "kv_heads": 8, "head_dim": 128},
    OllamaInstance: {"name": "heavy", "gpu": "GPU-85c38fae", "port": 11434, "model": "qwen3:8b"},
    OllamaRelease: {"version": "0.32.7", "sha256": "e" * 64},
    Whisper: {
        "image": "onerahmet/openai-whisper-asr-webservice:v1.9.1-gpu",
        "gpu": "GPU-85c38fae",
        "model": "large-v3-turbo",
        "quantization": "int8",
        "memory": "4g",
        "vram_mib": 1229,
    },
    HardwareProfile: {
        "name": "i7_9700k",
        "cpu_model": "i7-9700K",
        "cores": 8,
        "ram_gib": 28,
        "disk_gib": 229,
        "ollama_parallel": {"heavy": 6},
    },
    CronJob: {"name": "gpu-watchdog", "schedule": "*/5 * * * *"},
    AptRepository: {
        "name": "toolkit",
        "uri": "https://a.example/deb",
        "suite": "/",
        "key_url": "https://a.example/key",
    },
    System: {
        "id": "debian",
        "version": "13",
        "tested": True,
        "base": ("curl",),
        "docker": ("docker.io",),
        "nginx": ("nginx",),
        "driver_components": ("non-free",),
        "kernel_headers": "linux-headers-amd64",
        "nvidia_driver": ("nvidia-driver",),
        "container_toolkit": ("nvidia-container-toolkit",),
    },
    DockerSettings: {
        "log_max_size": "10m",
        "log_max_file": 3,
        "storage_driver": "overlay2",
        "shm_size": "32m",
        "build_cache": "5GB",
        "address_pool": "10.0.0.0/8",
        "address_pool_size": 24,
        "live_restore": True,
    },
    Paths: {field.name: f"/srv/{field.name}" for field in dataclasses.fields(Paths)},
    Thresholds: {field.name: 90 for field in dataclasses.fields(Thresholds)},
    Watch: {
        "disk_alert_percent": 90,
        "postgres_connections_percent": 90,
        "redis_memory_percent": 90,
        "celery_queue": 90,
        "ollama_latency_p95_s": 90,
        "fallback_percent": 90,
    },
}

NONSENSE: list[tuple[type[Declaration], str, Any, str]] = [
    (Gpu, "bus", "1:00.0", "01:00.0"),
    (Gpu, "bus", "00000000:01:00.0", "01:00.0"),
    (Gpu, "bus", "0A:00.0", "lower case"),
    (Gpu, "uuid", "85c38fae", "GPU-"),
    (Gpu, "uuid", "GPU-", "four digits"),
    (Gpu, "model", "", "a product name"),
    (Gpu, "vram_mib", 8, "1024"),
    (Gpu, "vram_mib", "8192", "a whole number"),
    (Gpu, "power_limit_w", 5000, "from 50 to 1000"),
    (OllamaModel, "name", "qwen3", "with its tag"),
    (OllamaModel, "layers", 0, "from 1"),
    (OllamaInstance, "name", "Heavy!", "lower-case"),
    (OllamaInstance, "gpu", "0", "the uuid of a Gpu"),
    (OllamaInstance, "port", 70000, "65535"),
    (OllamaInstance, "port", "11434", "a whole number"),
    (OllamaInstance, "port", True, "a whole number"),
    (OllamaInstance, "context_length", 10, "from 256"),
    (OllamaInstance, "max_queue", 0, "from 1"),
    (OllamaRelease, "version", "latest", "0.15.2"),
    (OllamaRelease, "sha256", "E" * 64, "64 lower-case"),
    (Whisper, "image", "onerahmet/openai-whisper-asr-webservice", "name:tag"),
    (Whisper, "image", "onerahmet/openai-whisper-asr-webservice:latest", "never latest"),
    (Whisper, "image", "onerahmet/openai-whisper-asr-webservice:latest-gpu", "never latest"),
    (Whisper, "model", "large-v3", "7.6 GB"),
    (Whisper, "model", "distil-large-v3", "English"),
    (Whisper, "model", "huge", "large-v3-turbo"),
    (Whisper, "quantization", "int4", "float16"),
    (Whisper, "memory", "512", '"512m"'),
    (Whisper, "memory", "4G", '"4g"'),
    (HardwareProfile, "cores", 0, "from 1"),
    (HardwareProfile, "zram_percent", 500, "from 0 to 200"),
    (CronJob, "name", "docker.cleanup", "lower-case"),
    (CronJob, "schedule", "0 4 * *", "five fields"),
    (CronJob, "schedule", "0 25 * * *", "five fields"),
    (CronJob, "schedule", "0 4 1 * *", "five fields"),
    (AptRepository, "key_url", "http://a.example/key", "https://"),
    (System, "base", ("Curl",), "a package name"),
    (System, "driver_components", ("Non-Free",), "lower-case"),
    (DockerSettings, "address_pool", "10.0.0.1/8", "10.0.0.0/8"),
    (DockerSettings, "address_pool_size", 4, "from 8"),
    (DockerSettings, "log_max_size", "10", '"10m"'),
    (Paths, "scripts", "opt/scripts", "an absolute path"),
    (Paths, "stacks", "/etc", "no folder of the system's own"),
    (Paths, "stacks", "/usr/local/bin", "no folder of the system's own"),
    (Paths, "stacks", "/opt/../etc", "neither . nor .."),
    (Paths, "stacks", "/srv/state", "a path of its own; state has this one"),
    (Whisper, "memory", "1k", "from 6m"),
    (Whisper, "memory", "9" * 40 + "g", "to 4096g"),
    (Gpu, "model", [[[[[[]]]]]], "a product name"),
    (OllamaInstance, "prot", 11434, "did you mean port?"),
    (Thresholds, "disk_refuse_percent", 101, "100"),
    (Watch, "disk_alert_percent", 101, "100"),
    (Watch, "min_calls", 0, "from 1"),
]


@pytest.mark.parametrize("kind", SOUND, ids=lambda kind: str(kind.__name__))
def test_sound_declaration_is_made_and_can_be_shown(kind: type[Declaration]) -> None:
    assert json.dumps(kind(**SOUND[kind]).to_json())


@pytest.mark.parametrize(("kind", "key", "value", "expected"), NONSENSE)
def test_nonsense_is_refused(kind: type[Declaration], key: str, value: Any, expected: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        kind(**SOUND[kind] | {key: value})
    (problem,) = refused.value.problems
    assert problem.key.removesuffix("[0]").endswith(f".{key}")
    assert problem.found in ("not a known key", shown(value[0] if isinstance(value, tuple) else value))
    assert expected in str(problem)


@pytest.mark.parametrize(("caches", "key"), [({16: 0}, "Watch.caches[16]"), ({1: -1}, "Watch.caches[1]")])
def test_a_cache_of_the_watch_is_an_index_of_redis(caches: dict[int, int], key: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        Watch(**SOUND[Watch] | {"caches": caches})
    assert [problem.key for problem in refused.value.problems] == [key]


def test_all_nonsense_of_one_declaration_is_named_at_once() -> None:
    with pytest.raises(DeclarationError) as refused:
        OllamaInstance(name="heavy", gpu="0", port=0, model="x")
    assert [problem.key for problem in refused.value.problems] == [
        "OllamaInstance heavy.gpu",
        "OllamaInstance heavy.port",
        "OllamaInstance heavy.model",
    ]


def test_the_reader_adds_the_file() -> None:
    with pytest.raises(DeclarationError) as refused:
        OllamaRelease(version="0.1", sha256="a" * 64)
    (problem,) = refused.value.in_file("group_data/gpu.py").problems
    assert str(problem) == (
        "group_data/gpu.py: OllamaRelease.version is '0.1', but must be a release such as 0.15.2."
    )


@pytest.mark.parametrize(
    "image",
    [
        "redis:7-alpine",
        "ghcr.io/berriai/litellm:main-v1.63.2-stable",
        "registry:5000/a/b:1",
        "postgres@sha256:" + "0" * 64,
    ],
)
def test_pinned_images_are_accepted(image: str) -> None:
    assert Whisper(**SOUND[Whisper] | {"image": image}).image == image


def test_parallel_of_an_instance_is_a_number() -> None:
    with pytest.raises(DeclarationError, match=r"ollama_parallel\.heavy is 0"):
        HardwareProfile(**SOUND[HardwareProfile] | {"ollama_parallel": {"heavy": 0}})


@pytest.mark.parametrize(("memory", "mib"), [("512m", 512), ("4g", 4096), ("2048k", 2)])
def test_memory_sizes(memory: str, mib: int) -> None:
    assert mebibytes(memory) == mib


def test_memory_size_without_unit_is_none() -> None:
    with pytest.raises(ValueError, match="512"):
        mebibytes("512")


def test_names_that_follow() -> None:
    instance = OllamaInstance(**SOUND[OllamaInstance])
    assert (instance.unit, instance.warmup_unit) == ("ollama@heavy.service", "ollama-warmup@heavy.service")
    whisper = Whisper(**SOUND[Whisper])
    assert (whisper.unit, whisper.memory_mib) == ("shared-whisper.service", 4096)
    url = OllamaRelease(**SOUND[OllamaRelease]).url
    assert url == "https://github.com/ollama/ollama/releases/download/v0.32.7/ollama-linux-amd64.tar.zst"
    assert System(**SOUND[System]).held == ("nvidia-driver", "nvidia-container-toolkit")


def test_a_value_of_any_size_is_shown_in_a_line() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in ("x" * 10**6, list(range(10**6)), {str(n): n for n in range(10**5)}, deep, 10**6000):
        assert len(shown(value)) < 400
        with pytest.raises(DeclarationError) as refused:
            Gpu(**SOUND[Gpu] | {"vram_mib": value})
        assert len(str(refused.value)) < 600

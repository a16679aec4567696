"""Files of the host that are data."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import pytest

from blueprint import contents, render
from blueprint import render as render_function
from blueprint.render import _environment
from tests.unit.declared import declared

FULL_UUID = "GPU-bdb1f5e4-0000-4000-8000-000000000001"


def test_docker_daemon_has_what_the_requirements_and_coolify_want() -> None:
    assert contents.docker_daemon(declared()) == {
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
        "storage-driver": "overlay2",
        "default-shm-size": "32m",
        "builder": {"gc": {"enabled": True, "defaultKeepStorage": "5GB"}},
        "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}],
        "live-restore": True,
        "runtimes": {"nvidia": {"args": [], "path": "nvidia-container-runtime"}},
    }


def test_environment_of_an_ollama_instance() -> None:
    blueprint = declared()
    assert contents.ollama_environment(blueprint, blueprint.instance("heavy"), FULL_UUID) == (
        "OLLAMA_HOST=127.0.0.1:11434\n"
        "CUDA_DEVICE_ORDER=PCI_BUS_ID\n"
        f"CUDA_VISIBLE_DEVICES={FULL_UUID}\n"
        "OLLAMA_KEEP_ALIVE=-1\n"
        "OLLAMA_FLASH_ATTENTION=1\n"
        "OLLAMA_KV_CACHE_TYPE=q8_0\n"
        "OLLAMA_GPU_OVERHEAD=536870912\n"
        "OLLAMA_MAX_LOADED_MODELS=1\n"
        "OLLAMA_NUM_PARALLEL=3\n"
        "OLLAMA_MAX_QUEUE=64\n"
        "OLLAMA_CONTEXT_LENGTH=4096\n"
        "OLLAMA_MODELS=/usr/share/ollama/.ollama/models\n"
        "OLLAMA_NOPRUNE=1\n"
        "OLLAMA_VULKAN=0\n"
    )


def test_another_profile_changes_heavy_and_light_and_nothing_else() -> None:
    def files(profile: str) -> dict[str, str]:
        blueprint = declared(profile)
        return {
            "zramswap": contents.zramswap(blueprint),
            "sysctl": contents.sysctl(blueprint),
            "daemon.json": json.dumps(contents.docker_daemon(blueprint)),
            "whisper": json.dumps(contents.whisper_environment(blueprint)),
            **{
                instance.name: contents.ollama_environment(blueprint, instance, FULL_UUID)
                for instance in blueprint.ollama_instances
            },
        }

    now, then = files("celeron_g4930"), files("i7_9700k")
    assert {name for name in now if now[name] != then[name]} == {"heavy", "light"}
    assert "OLLAMA_NUM_PARALLEL=6\n" in then["heavy"]
    assert "OLLAMA_NUM_PARALLEL=12\n" in then["light"]


def test_whisper_gets_its_quantization_under_the_name_it_reads() -> None:
    environment = contents.whisper_environment(declared())
    assert environment["ASR_QUANTIZATION"] == "int8"
    assert environment["ASR_MODEL"] == "large-v3-turbo"
    assert "COMPUTE_TYPE" not in environment


def test_small_files() -> None:
    blueprint = declared(swappiness=100)
    assert contents.sysctl(blueprint) == "vm.swappiness = 100\n"
    assert contents.zramswap(blueprint) == "ALGO=lz4\nPERCENT=50\nPRIORITY=100\n"
    assert contents.journald(blueprint) == "[Journal]\nSystemMaxUse=500M\n"


def test_cron_files_lock_log_and_set_their_path() -> None:
    blueprint = declared()
    jobs = {job.name: contents.cron(blueprint, job).splitlines() for job in blueprint.cron_jobs}
    assert {"gpu-watchdog", "ollama-maintenance", "docker-cleanup", "watch"} < set(jobs)
    for lines in jobs.values():
        assert lines[1].startswith("PATH=/usr/local/sbin:")
        assert len(lines) == 4
    assert jobs["gpu-watchdog"][3] == (
        "*/5 * * * * root flock -E 75 -n /var/lib/sourcefast/locks/gpu.lock /opt/scripts/gpu-watchdog.sh"
        " >>/var/log/sourcefast/gpu-watchdog.log 2>&1"
        "; /opt/scripts/heartbeat.sh gpu-watchdog $? >>/var/log/sourcefast/gpu-watchdog.log 2>&1"
    )
    assert jobs["ollama-maintenance"][3].startswith(
        "0 4 * * * root flock -E 75 -w 240 /var/lib/sourcefast/locks/gpu.lock "
    )
    assert "flock -E 75 -n /var/lib/sourcefast/locks/docker-cleanup.lock" in jobs["docker-cleanup"][3]


def test_a_template_keeps_its_last_line_and_refuses_missing_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.j2").write_text("{% if on %}\nname={{ name }}\n{% endif %}\n")
    monkeypatch.setattr(_environment, "loader", jinja2.FileSystemLoader(tmp_path))
    assert render_function("a/b.j2", on=True, name="<&>") == "name=<&>\n"
    with pytest.raises(jinja2.UndefinedError, match="name"):
        render("a/b.j2", on=True)
    with pytest.raises(jinja2.TemplateNotFound):
        render("a/c.j2")

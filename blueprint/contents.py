"""Contents of the host's files that are data rather than a template."""

from __future__ import annotations

import json
from typing import Any

from blueprint.host import Blueprint
from blueprint.model import CronJob, OllamaInstance

# cron starts jobs with /usr/bin:/bin only.
_CRON_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def docker_daemon(blueprint: Blueprint) -> dict[str, Any]:
    """/etc/docker/daemon.json (requirements 11.5), with the settings that keep Coolify's installer off it."""
    docker = blueprint.docker
    return {
        "log-driver": "json-file",
        "log-opts": {"max-size": docker.log_max_size, "max-file": str(docker.log_max_file)},
        "storage-driver": docker.storage_driver,
        "default-shm-size": docker.shm_size,
        "builder": {"gc": {"enabled": True, "defaultKeepStorage": docker.build_cache}},
        "default-address-pools": [{"base": docker.address_pool, "size": docker.address_pool_size}],
        "live-restore": docker.live_restore,
        "runtimes": {"nvidia": {"args": [], "path": "nvidia-container-runtime"}},
    }


def sysctl(blueprint: Blueprint) -> str:
    """File of /etc/sysctl.d. Requirements 11.4 set swappiness in zramswap's defaults, where nothing reads it."""
    return f"vm.swappiness = {blueprint.swappiness}\n"


def zramswap(blueprint: Blueprint) -> str:
    """/etc/default/zramswap (requirements 11.4)."""
    return _variables(
        {
            "ALGO": blueprint.zram_algorithm,
            "PERCENT": blueprint.profile.zram_percent,
            "PRIORITY": blueprint.zram_priority,
        }
    )


def journald(blueprint: Blueprint) -> str:
    """Drop-in of /etc/systemd/journald.conf.d."""
    return f"[Journal]\nSystemMaxUse={blueprint.journal_max_mib}M\n"


def cron(blueprint: Blueprint, job: CronJob) -> str:
    """A job's file in /etc/cron.d: the job takes its lock, logs its output, and reports its end to Uptime Kuma."""
    patience = f"-w {job.wait_s}" if job.wait_s else "-n"
    lock = f"{blueprint.paths.locks}/{job.lock_name}.lock"
    log = f"{blueprint.paths.logs}/{job.name}.log"
    # Exit status 75: the lock was taken and the job skipped, which heartbeat.sh does not report.
    run = f"flock -E 75 {patience} {lock} {blueprint.paths.scripts}/{job.script} >>{log} 2>&1"
    report = f"{blueprint.paths.scripts}/heartbeat.sh {job.name} $? >>{log} 2>&1"
    return f'SHELL=/bin/sh\nPATH={_CRON_PATH}\nMAILTO=""\n{job.schedule} root {run}; {report}\n'


def ollama_environment(blueprint: Blueprint, instance: OllamaInstance, gpu_uuid: str) -> str:
    """An instance's environment file (requirements 4.4), without comments: systemd would make them part of the value.

    :param gpu_uuid: full UUID of its card, as the driver reports it
    """
    return _variables(
        {
            # Containers reach the filter, which listens on the same port of Docker's bridge.
            "OLLAMA_HOST": f"127.0.0.1:{instance.port}",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": gpu_uuid,
            "OLLAMA_KEEP_ALIVE": -1,
            "OLLAMA_FLASH_ATTENTION": 1,
            "OLLAMA_KV_CACHE_TYPE": "q8_0",
            "OLLAMA_GPU_OVERHEAD": blueprint.ollama_gpu_overhead_mib * 1024 * 1024,
            "OLLAMA_MAX_LOADED_MODELS": 1,
            "OLLAMA_NUM_PARALLEL": blueprint.parallel_of(instance),
            "OLLAMA_MAX_QUEUE": instance.max_queue,
            "OLLAMA_CONTEXT_LENGTH": instance.context_length,
            "OLLAMA_MODELS": blueprint.paths.ollama_models,
            # Otherwise an instance that starts removes what another one is pulling into the shared store.
            "OLLAMA_NOPRUNE": 1,
            # Vulkan would use every card and ignore CUDA_VISIBLE_DEVICES.
            "OLLAMA_VULKAN": 0,
        }
    )


def ollama_filter(blueprint: Blueprint, instance: OllamaInstance) -> str:
    """Settings of files/ollama/filter.js for an instance, as JSON."""
    return json.dumps(
        {
            "model": instance.model,
            "context": instance.context_length,
            "yields_gpu": blueprint.yields_gpu(instance),
        }
    )


def whisper_environment(blueprint: Blueprint) -> dict[str, str]:
    """Environment of the shared-whisper container (requirements 4.5; the image reads ASR_QUANTIZATION)."""
    return {
        "ASR_ENGINE": "faster_whisper",
        "ASR_MODEL": blueprint.whisper.model,
        "ASR_MODEL_PATH": "/root/.cache/whisper",
        "ASR_QUANTIZATION": blueprint.whisper.quantization,
        "ASR_DEVICE": "cuda",
    }


def _variables(values: dict[str, str | int]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())

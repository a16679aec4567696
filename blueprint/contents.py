"""Contents of the host's files that are data rather than a template."""

from __future__ import annotations

import json
from typing import Any

from blueprint.model import CronJob, OllamaInstance
from blueprint.plan import Blueprint

# cron starts jobs with /usr/bin:/bin only.
_CRON_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def docker_daemon(plan: Blueprint) -> dict[str, Any]:
    """/etc/docker/daemon.json (requirements 11.5), with the settings that keep Coolify's installer off it."""
    docker = plan.docker
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


def sysctl(plan: Blueprint) -> str:
    """File of /etc/sysctl.d. Requirements 11.4 set swappiness in zramswap's defaults, where nothing reads it."""
    return f"vm.swappiness = {plan.swappiness}\n"


def zramswap(plan: Blueprint) -> str:
    """/etc/default/zramswap (requirements 11.4)."""
    return _variables(
        {
            "ALGO": plan.zram_algorithm,
            "PERCENT": plan.profile.zram_percent,
            "PRIORITY": plan.zram_priority,
        }
    )


def journald(plan: Blueprint) -> str:
    """Drop-in of /etc/systemd/journald.conf.d."""
    return f"[Journal]\nSystemMaxUse={plan.journal_max_mib}M\n"


def cron(plan: Blueprint, job: CronJob) -> str:
    """A job's file in /etc/cron.d: under its lock, with its output in its log, and its end told to Uptime Kuma."""
    patience = f"-w {job.wait_s}" if job.wait_s else "-n"
    lock = f"{plan.paths.locks}/{job.lock_name}.lock"
    log = f"{plan.paths.logs}/{job.name}.log"
    # 75: a round that was left out because the lock was taken. heartbeat.sh tells nothing of it.
    run = f"flock -E 75 {patience} {lock} {plan.paths.scripts}/{job.script} >>{log} 2>&1"
    told = f"{plan.paths.scripts}/heartbeat.sh {job.name} $? >>{log} 2>&1"
    return f'SHELL=/bin/sh\nPATH={_CRON_PATH}\nMAILTO=""\n{job.schedule} root {run}; {told}\n'


def ollama_environment(plan: Blueprint, instance: OllamaInstance, gpu_uuid: str) -> str:
    """An instance's environment file (requirements 4.4), without comments: systemd would make them part of the value.

    :param gpu_uuid: full UUID of its card, as the driver reports it
    """
    return _variables(
        {
            # Containers come to the filter, on the same port of their side.
            "OLLAMA_HOST": f"127.0.0.1:{instance.port}",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": gpu_uuid,
            "OLLAMA_KEEP_ALIVE": -1,
            "OLLAMA_FLASH_ATTENTION": 1,
            "OLLAMA_KV_CACHE_TYPE": "q8_0",
            "OLLAMA_GPU_OVERHEAD": plan.ollama_gpu_overhead_mib * 1024 * 1024,
            "OLLAMA_MAX_LOADED_MODELS": 1,
            "OLLAMA_NUM_PARALLEL": plan.parallel_of(instance),
            "OLLAMA_MAX_QUEUE": instance.max_queue,
            "OLLAMA_CONTEXT_LENGTH": instance.context_length,
            "OLLAMA_MODELS": plan.paths.ollama_models,
            # An instance that starts would remove what another one is just pulling into the shared store.
            "OLLAMA_NOPRUNE": 1,
            # Vulkan would use every card, whatever CUDA_VISIBLE_DEVICES says.
            "OLLAMA_VULKAN": 0,
        }
    )


def ollama_filter(plan: Blueprint, instance: OllamaInstance) -> str:
    """What files/ollama/filter.js has to know of an instance, as JSON."""
    return json.dumps(
        {
            "model": instance.model,
            "context": instance.context_length,
            "unloads": plan.gives_way(instance),
        }
    )


def whisper_environment(plan: Blueprint) -> dict[str, str]:
    """Environment of the shared-whisper container (requirements 4.5; the image reads ASR_QUANTIZATION)."""
    return {
        "ASR_ENGINE": "faster_whisper",
        "ASR_MODEL": plan.whisper.model,
        "ASR_MODEL_PATH": "/root/.cache/whisper",
        "ASR_QUANTIZATION": plan.whisper.quantization,
        "ASR_DEVICE": "cuda",
    }


def _variables(values: dict[str, str | int]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())

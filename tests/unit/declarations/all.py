"""As group_data/all.py, which documents the keys; for the unit tests."""

from blueprint.model import CronJob, DockerSettings, Paths, System, Thresholds

phase = "all"

allow_untested_os = False

allow_small_machine = False

llm_provider = "litellm"

optional_services: list[str] = []

report = ""

upgrade_to = ""

postgres_migrate = False

databases_left: list[str] = []

empty_databases: list[str] = []

remove_migrated = False

remove: list[str] = []
remove_volumes = False

remove_teams: list[str] = []

_BASE = (
    "apparmor",
    "ca-certificates",
    "cron",
    "curl",
    "gnupg",
    "iptables",
    "jq",
    "logrotate",
    "pciutils",
    "python3",
    "unattended-upgrades",
    "zram-tools",
    "zstd",
)

systems = [
    System(
        id="debian",
        version="13",
        tested=True,
        base=_BASE,
        docker=("docker.io", "docker-cli", "docker-compose", "docker-buildx"),
        nginx=("nginx", "libnginx-mod-http-js"),
        driver_components=("contrib", "non-free", "non-free-firmware"),
        kernel_headers="linux-headers-amd64",
        nvidia_driver=("nvidia-driver", "libcuda1", "nvidia-smi", "nvidia-persistenced"),
        container_toolkit=("nvidia-container-toolkit",),
    ),
    System(
        id="ubuntu",
        version="24.04",
        tested=False,
        base=_BASE,
        docker=("docker.io", "docker-compose-v2", "docker-buildx"),
        nginx=("nginx", "libnginx-mod-http-js"),
        driver_components=(),
        kernel_headers="linux-headers-generic",
        nvidia_driver=("nvidia-driver-550-server", "nvidia-utils-550-server"),
        container_toolkit=("nvidia-container-toolkit",),
    ),
]

paths = Paths(
    config="/etc/sourcefast",
    state="/var/lib/sourcefast",
    stacks="/opt/sourcefast",
    scripts="/opt/scripts",
    logs="/var/log/sourcefast",
    locks="/var/lib/sourcefast/locks",
    swap_file="/swapfile",
    ollama_env="/etc/ollama",
    ollama_home="/usr/share/ollama",
    ollama_models="/usr/share/ollama/.ollama/models",
)

swap_gib = 24

swappiness = 150

zram_algorithm = "lz4"
zram_priority = 100

journal_max_mib = 500

system_memory_mib = 2000
ollama_memory_mib = 100

image_mib = 1024
gpu_image_mib = 10240
backup_day_mib = 1024

docker = DockerSettings(
    log_max_size="10m",
    log_max_file=3,
    storage_driver="overlay2",
    shm_size="32m",
    build_cache="5GB",
    address_pool="10.0.0.0/8",
    address_pool_size=24,
    live_restore=True,
)

docker_minimum = "25.0"
compose_minimum = "2.20.2"

coolify_network = "coolify"

open_tcp_ports = [22, 80, 443]
open_udp_ports = [443]

container_tcp_ports = [80, 443]

registry = "ghcr.io"

cron_jobs = [
    CronJob(name="gpu-watchdog", schedule="*/5 * * * *", lock="gpu"),
    CronJob(name="ollama-maintenance", schedule="0 4 * * *", lasts_min=15, lock="gpu", wait_s=240),
    CronJob(name="docker-cleanup", schedule="17 2 * * 0", lasts_min=30),
    CronJob(name="backup-databases", schedule="0 3 * * *", lasts_min=30, phase="litellm"),
    CronJob(name="backup-clickhouse", schedule="30 3 * * *", lasts_min=30, phase="litellm"),
    CronJob(name="backup-restore-test", schedule="0 5 * * 0", lasts_min=60, phase="monitoring"),
    CronJob(name="watch", schedule="*/5 * * * *", phase="monitoring"),
]

thresholds = Thresholds(
    disk_free_gib=10,
    disk_refuse_percent=95,
    gpu_vram_percent=90,
    gpu_vram_runs=2,
    gpu_xid_quiet_min=30,
    ollama_answer_s=10,
)

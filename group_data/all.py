"""What holds for every host: the run's own switches, packages, paths, Docker, network, schedule, thresholds.

Keys with a plain value can be given for one run (`--data swap_gib=8`) or for good (`data:` in production.yaml); the
others are declarations, and this is where they are changed. Several names are a list, or a text with commas.
"""

from blueprint.model import CronJob, DockerSettings, Paths, System, Thresholds

# --- the run

# Phases to run: "all", a name, a number of the checklist, or several of these.
phase = "all"

# Continue on a system that is not in `systems`, or not tested.
allow_untested_os = False

# Deploy a project on a smaller machine than it needs.
allow_small_machine = False

# Backend of the projects' prompts: litellm; or ollama: past LiteLLM, with Groq as the fallback (requirements 3.8).
llm_provider = "litellm"

# Optional services of projects to deploy, by name.
optional_services: list[str] = []

# JSON file for the report at the end of a run; "" for none.
report = ""

# Begin a hardware upgrade to this profile: back up everything, stop it, and print the next steps. The machine's own
# profile abandons a pending upgrade.
upgrade_to = ""

# Take over an existing Postgres: dump it, restore it into a new volume, compare; the old one stays.
postgres_migrate = False

# Databases of old servers to leave behind.
databases_left: list[str] = []

# Databases whose dumps may be smaller than their `min_dump_kib`: on a new server, without the owner's data yet.
empty_databases: list[str] = []

# Remove old containers whose data was taken over, after a fresh backup; their volumes stay.
remove_migrated = False

# Undeclared stacks or containers to remove, by name. Their volumes stay, or are removed too, each after it was archived
# in the folder of the backups and compared with its archive.
remove: list[str] = []
remove_volumes = False

# Undeclared teams of LiteLLM to delete with their keys.
remove_teams: list[str] = []

# --- the system

# Packages of every host, with the same names on both systems.
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

# Supported systems, and the names of their packages.
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

# Paths on the host.
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

# Swap on disk, in GiB (requirements 1.1).
swap_gib = 24

# Swappiness of the kernel (0..200). High, because the first swap is compressed memory (requirements 11.4).
swappiness = 150

# Compressed swap: algorithm, and a priority above that of the disk. Its size is the hardware profile's.
zram_algorithm = "lz4"
zram_priority = 100

# The journal's share of the disk, in MiB.
journal_max_mib = 500

# --- what the budgets count beside the containers

# Memory in MiB (requirements 2.2): of the system with the Docker engine and Coolify, and of each Ollama instance beside
# its card.
system_memory_mib = 2000
ollama_memory_mib = 100

# Disk in MiB, estimates: an image unpacked, one with CUDA in it (10 GB for voicejury's: requirements 2.1), and one
# day's backup of everything.
image_mib = 1024
gpu_image_mib = 10240
backup_day_mib = 1024

# --- Docker and the network

# Settings of the engine (requirements 11.5), and the address pools that Coolify's installer would write.
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

# Oldest installed engine and Compose plugin that are kept: the first with `start_interval`, which every health check
# has. (From 23 on the engine labels anonymous volumes, by which the cleanup recognises them.)
docker_minimum = "25.0"
compose_minimum = "2.20.2"

# The network on which all containers of the platform meet; Coolify's "predefined network" (requirements 11.2).
coolify_network = "coolify"

# Ports open to the world; everything else is dropped, published by Docker or not (requirements 11.6).
open_tcp_ports = [22, 80, 443]
open_udp_ports = [443]

# Ports of the host that containers reach, under any of its addresses, beside Ollama's instances: the web, so that a
# project can call its own public domain. Where Coolify runs, SSH as well: it logs in to its host from a container.
container_tcp_ports = [80, 443]

# The owner's registry of private images (requirements 11.3). A login needs the secret registry/password.
registry = "ghcr.io"

# --- schedule

# The restart at 04:00 waits for the watchdog and keeps it out meanwhile. The cleanup ends before the backups at 03:00.
# Each runs the script of its name, and belongs to phase hardware unless it names another.
cron_jobs = [
    CronJob(name="gpu-watchdog", schedule="*/5 * * * *", lock="gpu"),
    CronJob(name="ollama-maintenance", schedule="0 4 * * *", lasts_min=15, lock="gpu", wait_s=240),
    CronJob(name="docker-cleanup", schedule="17 2 * * 0", lasts_min=30),
    CronJob(name="backup-databases", schedule="0 3 * * *", lasts_min=30, phase="litellm"),
    CronJob(name="backup-clickhouse", schedule="30 3 * * *", lasts_min=30, phase="litellm"),
    CronJob(name="backup-restore-test", schedule="0 5 * * 0", lasts_min=60, phase="monitoring"),
    CronJob(name="watch", schedule="*/5 * * * *", phase="monitoring"),
]

# What a phase needs before it begins, and when the GPU watchdog notifies the owner (requirements 2.1 and 10.4).
thresholds = Thresholds(
    disk_free_gib=10,
    disk_refuse_percent=95,
    gpu_vram_percent=90,
    gpu_vram_runs=2,
    gpu_xid_quiet_min=30,
    ollama_answer_s=10,
)

"""What holds for every host: the run's own switches, packages, paths, Docker, network, schedule, thresholds.

Keys with a plain value can be given for one run (`--data swap_gib=8`) or for good (`data:` in production.yaml); the
others are declarations, and this is where they are changed. Of several names a list will do, and a text with commas.
"""

from blueprint.model import CronJob, DockerSettings, Paths, System, Thresholds

# --- the run

# Phases to run: "all", a name, a number of the checklist, or several of these.
phase = "all"

# Go on where the system is not one of `systems`, or is one that is not tested.
allow_untested_os = False

# Bring a project to a machine that is smaller than it is meant for.
allow_small_machine = False

# Who answers the projects' prompts: litellm, or ollama: past LiteLLM, with Groq to stand in (requirements 3.8).
llm_provider = "litellm"

# Optional services of projects that are wanted, by name.
optional_services: list[str] = []

# File that the report at the end of a run is written to as JSON, too; "" for none.
report = ""

# Begin a hardware upgrade to this profile: save everything, stop it, and say what to do. The profile that the machine
# has gives up an upgrade that is under way.
upgrade_to = ""

# Take over a Postgres that was there before: dumped, restored into a new volume, compared; the old one is kept.
postgres_migrate = False

# Databases of old servers that stay behind, knowingly.
databases_left: list[str] = []

# Remove old containers whose data was taken over, after a fresh backup; their volumes stay.
remove_migrated = False

# What to remove: stacks or containers that are no longer declared, by name. Their volumes stay, unless they are to go,
# too: then each is archived in the folder of the backups, and compared with its archive, first.
remove: list[str] = []
remove_volumes = False

# Teams of LiteLLM to delete with their keys; no longer declared, either.
remove_teams: list[str] = []

# --- the system

# Packages of every host, which both systems call the same.
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

# Systems that can be provisioned, and what their packages are called.
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

# Where things are on the host.
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

# How readily the kernel swaps (0..200). High, because the first swap is compressed memory (requirements 11.4).
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

# What the engine is told (requirements 11.5), and the address pools that Coolify's installer would write.
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

# Oldest engine and Compose plugin that are kept where they are already there: those that know `start_interval`, which
# every health check has. (From 23 on the engine labels volumes that nobody named: so the cleanup knows them.)
docker_minimum = "25.0"
compose_minimum = "2.20.2"

# The network on which all containers of the platform meet; Coolify's "predefined network" (requirements 11.2).
coolify_network = "coolify"

# What the world may reach; everything else is dropped, published by Docker or not (requirements 11.6).
open_tcp_ports = [22, 80, 443]
open_udp_ports = [443]

# What containers reach of the host itself, under any of its addresses, beside the instances of Ollama: the web, so that
# a project can call its own public domain. Where Coolify runs, SSH as well: it logs in to its host from a container.
container_tcp_ports = [80, 443]

# The owner's registry of private images (requirements 11.3). A login needs the secret registry/password.
registry = "ghcr.io"

# --- schedule

# The restart at 04:00 waits for the watchdog and keeps it out meanwhile. The cleanup ends before the backups at 03:00.
# Each runs the script of its name, and comes with the hardware unless it says which phase brings it.
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

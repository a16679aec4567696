"""Scripts of the host with fake programs on their PATH, and the units as systemd reads them."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from blueprint.render import render
from tests.unit.bench import Bench
from tests.unit.operations.test_ollama import VERSION, serve
from tests.unit.paths import CHECKOUT

UUID = "GPU-d4fb9c68-2b3c-a854-97ed-c82b3c580122"


# --- wait-for-gpu -----------------------------------------------------------------------------------------


def test_wait_ends_when_the_card_is_listed(bench: Bench) -> None:
    bench.program(
        "nvidia-smi", f'log asked; [ $(wc -l <{bench.log}) -lt 2 ] || echo "GPU 4: RTX (UUID: {UUID})"'
    )
    bench.program("sleep", "")
    assert bench.run("gpu/wait-for-gpu.sh", UUID).returncode == 0
    assert bench.calls == ["asked", "asked"]


def test_wait_gives_up_and_says_what_is_there(bench: Bench) -> None:
    bench.program("nvidia-smi", "echo 'GPU 0: RTX (UUID: GPU-85c38fae)'; exit 15")
    done = bench.run("gpu/wait-for-gpu.sh", UUID, 0)
    assert done.returncode == 1
    assert "found:    GPU 0: RTX (UUID: GPU-85c38fae)" in done.stderr
    assert f"expected: card {UUID} within 0 s" in done.stderr


def test_wait_wants_the_whole_uuid(bench: Bench) -> None:
    bench.program("nvidia-smi", f"echo 'GPU 0: RTX (UUID: {UUID})'")
    assert bench.run("gpu/wait-for-gpu.sh", UUID[:12], 0).returncode == 1


# --- warm-up ----------------------------------------------------------------------------------------------


def warm_up(bench: Bench, port: int) -> subprocess.CompletedProcess[str]:
    return bench.run(
        "ollama/ollama-warmup.sh", OLLAMA_HOST=f"0.0.0.0:{port}", WARMUP_MODEL="qwen3:4b", WARMUP_PATIENCE="0"
    )


def test_warm_up_loads_without_a_prompt_for_good(bench: Bench) -> None:
    with serve(version=VERSION, generate='{"model":"qwen3:4b","done":true,"done_reason":"load"}') as server:
        done = warm_up(bench, server.port)
    assert (done.returncode, done.stderr) == (0, "")
    assert server.asked[-1] == ("/api/generate", b'{"model":"qwen3:4b","keep_alive":-1,"stream":false}')


def test_warm_up_of_a_model_that_is_not_there(bench: Bench) -> None:
    with serve(version=VERSION, generate='{"error":"model \'qwen3:4b\' not found"}') as server:
        done = warm_up(bench, server.port)
    assert done.returncode == 1
    assert 'found:    {"error":"model \'qwen3:4b\' not found"}' in done.stderr


def test_warm_up_without_an_api(bench: Bench) -> None:
    with serve() as server:
        done = warm_up(bench, server.port)
    assert done.returncode == 1
    assert "expected: Ollama's API" in done.stderr


# --- 04:00 ------------------------------------------------------------------------------------------------


def test_instances_are_restarted_one_after_the_other(bench: Bench) -> None:
    for name in ("heavy.env", "light.env", "light.warmup"):
        (bench.folder / name).touch()
    bench.program("systemctl", 'log "$@"')
    done = bench.run("ollama/ollama-maintenance.sh", OLLAMA_ENV=str(bench.folder))
    assert done.returncode == 0
    assert bench.calls == [
        "restart ollama@heavy.service",
        "start ollama-warmup@heavy.service",
        "restart ollama@light.service",
        "start ollama-warmup@light.service",
        "try-restart ollama-filter.service",
    ]
    assert done.stdout.count("restarted and warm") == 2


def test_one_that_fails_does_not_keep_the_others_from_it(bench: Bench) -> None:
    for name in ("heavy.env", "light.env"):
        (bench.folder / name).touch()
    bench.program("systemctl", 'log "$@"; [ "$2" != ollama@heavy.service ]')
    done = bench.run("ollama/ollama-maintenance.sh", OLLAMA_ENV=str(bench.folder))
    assert done.returncode == 1
    assert "heavy: failed" in done.stdout
    assert "light: restarted and warm" in done.stdout


# --- Docker -----------------------------------------------------------------------------------------------


def test_cleanup_removes_unnamed_volumes_that_nobody_keeps(bench: Bench) -> None:
    bench.program(
        "docker",
        """log "$@"
        case "$*" in
            *anonymous*) printf '%s\\n' ccc aaa bbb ;;
            *keep=true*) printf '%s\\n' whisper-cache bbb ;;
            'volume rm aaa') exit 1 ;;
        esac""",
    )
    done = bench.run("cleanup/docker-cleanup.sh")
    assert done.returncode == 0  # aaa came into use meanwhile, and ccc went all the same
    assert [call for call in bench.calls if call.startswith("volume rm")] == [
        "volume rm aaa",
        "volume rm ccc",
    ]
    assert bench.calls[0] == "image prune --force --filter until=168h --filter label!=keep=true"
    assert bench.calls[1] == "builder prune --force --filter until=168h"
    assert not [call for call in bench.calls if "--all" in call or "system" in call or "container" in call]


def test_cleanup_without_labels_removes_no_volume(bench: Bench) -> None:
    bench.program("docker", 'log "$@"')
    assert bench.run("cleanup/docker-cleanup.sh").returncode == 0
    assert not [call for call in bench.calls if call.startswith("volume rm")]


def test_cleanup_without_an_engine_fails(bench: Bench) -> None:
    bench.program("docker", "exit 1")
    assert bench.run("cleanup/docker-cleanup.sh").returncode != 0


def test_cleanup_that_cannot_tell_what_is_kept_removes_no_volume(bench: Bench) -> None:
    answers = """log "$@"
case $* in
*keep=true) [ "$1" != volume ] || exit 1 ;;
"volume ls"*) echo aaa ;;
esac"""
    bench.program("docker", answers)
    assert bench.run("cleanup/docker-cleanup.sh").returncode != 0
    assert not [call for call in bench.calls if call.startswith("volume rm")]


# --- swap -------------------------------------------------------------------------------------------------


@pytest.fixture
def swap(bench: Bench) -> Bench:
    """Programs that keep a list of what is switched on instead of swapping, and allocate nothing."""
    on = bench.folder / "on"
    on.touch()
    bench.program("swapon", f'case $1 in --show*) cat {on} ;; *) log on "$1"; echo "$1" >>{on} ;; esac')
    bench.program("swapoff", f'log off "$1"; : >{on}')
    bench.program("mkswap", 'log format "$1"')
    bench.program("fallocate", 'truncate --size "$2" "$3"')
    return bench


def test_swap_file_is_made_once(swap: Bench) -> None:
    path = swap.folder / "swapfile"
    assert swap.run("base/swapfile.sh", path, 2).returncode == 0
    assert path.stat().st_size == 2 << 30
    assert path.stat().st_mode & 0o777 == 0o600
    assert swap.calls == [f"format {path}.new", f"on {path}"]
    assert swap.run("base/swapfile.sh", path, 2).returncode == 0
    assert len(swap.calls) == 2


def test_swap_file_after_a_reboot(swap: Bench) -> None:
    path = swap.folder / "swapfile"
    swap.run("base/swapfile.sh", path, 1)
    (swap.folder / "on").write_text("/dev/zram0\n")
    swap.run("base/swapfile.sh", path, 1)
    assert swap.calls == [f"format {path}.new", f"on {path}", f"on {path}"]


def test_swap_file_of_another_size(swap: Bench) -> None:
    path = swap.folder / "swapfile"
    swap.run("base/swapfile.sh", path, 1)
    assert swap.run("base/swapfile.sh", path, 3).returncode == 0
    assert path.stat().st_size == 3 << 30
    assert swap.calls[2:] == [f"off {path}", f"format {path}.new", f"on {path}"]
    assert swap.run("base/swapfile.sh", path, 0).returncode == 0
    assert not path.exists()


def test_swap_that_memory_cannot_hold_stays(swap: Bench) -> None:
    path = swap.folder / "swapfile"
    swap.run("base/swapfile.sh", path, 1)
    swap.program("swapoff", "exit 1")
    done = swap.run("base/swapfile.sh", path, 3)
    assert done.returncode == 1
    assert "does not fit into memory" in done.stderr
    assert path.stat().st_size == 1 << 30


def test_swap_on_a_full_disk_leaves_nothing_behind(swap: Bench) -> None:
    path = swap.folder / "swapfile"
    swap.program("fallocate", "exit 1")
    swap.program("dd", "echo >&2 'No space left on device'; exit 1")
    done = swap.run("base/swapfile.sh", path, 24)
    assert done.returncode == 1
    assert "expected: 24 GiB for swap" in done.stderr
    assert list(swap.folder.glob("swapfile*")) == []


# --- templates --------------------------------------------------------------------------------------------

WHISPER = SimpleNamespace(
    name="shared-whisper",
    image="onerahmet/openai-whisper-asr-webservice:v1.9.1-gpu",
    model="large-v3-turbo",
    quantization="int8",
    memory="4g",
    port=9000,
    cache_volume="whisper-cache",
    pids=512,
)
UNITS: dict[str, tuple[str, dict[str, object]]] = {
    "ollama@.service": (
        "ollama/ollama@.service.j2",
        {"env_folder": "/etc/ollama", "home": "/usr/share/ollama"},
    ),
    "ollama-warmup@.service": ("ollama/ollama-warmup@.service.j2", {"env_folder": "/etc/ollama"}),
    "swapfile.service": ("base/swapfile.service.j2", {"path": "/swapfile", "size_gib": 24}),
    "gpu-power-limits.service": (
        "gpu/gpu-power-limits.service.j2",
        {"limits": "/etc/sourcefast/gpu-power-limits"},
    ),
    "shared-whisper.service": (
        "whisper/shared-whisper.service.j2",
        {
            "whisper": WHISPER,
            "gpu_uuid": UUID,
            "network": "coolify",
            "environment": {"ASR_MODEL": "large-v3-turbo", "ASR_MODEL_PATH": "/root/.cache/whisper"},
        },
    ),
}


def test_units_are_understood_by_systemd(tmp_path: Path) -> None:
    """Every setting is known, every quote closed. Programs and users that are not here are no fault of the units."""
    for name, (template, values) in UNITS.items():
        # /bin/true takes the place of programs that only the host has.
        text = render(template, scripts="/opt/scripts", **values)
        for program in ("/usr/local/bin/ollama", "/usr/bin/docker", *SCRIPTS):
            text = text.replace(program, "/bin/true")
        (tmp_path / name).write_text(text)
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=/bin/true\n")
    names = [name.replace("@.", "@heavy.") for name in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [
        line for line in done.stderr.splitlines() if str(tmp_path) in line or line.startswith(tuple(names))
    ]
    assert complaints == []


SCRIPTS = [
    f"/opt/scripts/{path.name}"
    for folder in ("gpu", "ollama", "base")
    for path in (CHECKOUT / "files" / folder).glob("*.sh")
]


def test_units_start_scripts_that_exist() -> None:
    for template, values in UNITS.values():
        for line in render(template, scripts="/opt/scripts", **values).splitlines():
            if line.startswith("Exec") and "/opt/scripts/" in line:
                program = line.partition("=")[2].lstrip("+-").split()[0]
                assert program in SCRIPTS


def test_whisper_is_started_as_decided() -> None:
    text = render(
        UNITS["shared-whisper.service"][0], scripts="/opt/scripts", **UNITS["shared-whisper.service"][1]
    )
    command = text[text.index("ExecStart=/usr/bin/docker run") : text.index("ExecStop=")]
    assert f"""--gpus '"device={UUID}"'""" in command
    assert "--publish 127.0.0.1:9000:9000" in command
    assert "--memory 4g" in command
    assert "--pull never" in command
    assert "--cap-drop ALL --security-opt no-new-privileges --pids-limit 512" in command
    assert "--label keep=true" in command
    assert "--env ASR_MODEL=large-v3-turbo" in command
    assert "--env NVIDIA_DISABLE_REQUIRE=1" in command
    assert "--tmpfs /usr/local/cuda/compat" in command
    assert command.rstrip().endswith(WHISPER.image)
    assert "\n\n" not in command  # a line that does not go on would end it early


def test_warm_up_follows_its_instance() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd tells cases apart
    unit.read_string(
        render("ollama/ollama-warmup@.service.j2", scripts="/opt/scripts", env_folder="/etc/ollama")
    )
    assert (
        unit["Unit"]["PartOf"] == unit["Unit"]["After"] == unit["Install"]["WantedBy"] == "ollama@%i.service"
    )
    assert unit["Service"]["RemainAfterExit"] == "yes"


def test_environment_files_have_no_comments() -> None:
    assert render("ollama/warmup.env.j2", model="qwen3:4b") == "WARMUP_MODEL=qwen3:4b\n"


def test_apt_understands_the_upgrades() -> None:
    for template in ("base/20auto-upgrades.j2", "base/52security-upgrades.j2"):
        done = subprocess.run(
            ["apt-config", "--config-file=/dev/stdin", "dump"],
            input=render(template),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


# --- modules that several phases install ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("configuration", "Login, read"),
        ("containers", "Process, ScriptError, address_of, docker, inside, inspect, running, the_running"),
        ("incidents", "ConfigurationError, Incidents, Telegram, log, private"),
    ],
)
def test_scripts_of_an_earlier_run_find_what_they_import(module: str, names: str) -> None:
    """A run with `--data phase=` replaces these modules, and of the scripts that import them only some."""
    program = f"from {module} import {names}"
    subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT / "files" / "common", check=True)

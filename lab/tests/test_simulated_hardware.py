"""The simulated hardware answers as the real programs do, and changes at a test's request."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import syslog
from pathlib import Path

import pytest

from lab.hardware import install, packages
from lab.hardware.gpusim import container, control, nvidia_ctk, nvidia_smi, state
from tests.unit.paths import FIXTURES

TWITCH = "GPU-d4fb9c68-2b3c-a854-97ed-c82b3c580122"
HEAVY = "GPU-bdb1f5e4-7a0e-6c52-93d1-2f6b8c40e7a9"
CUDA_12_6 = (
    "NVIDIA_REQUIRE_CUDA=cuda>=12.6 brand=tesla,driver>=535,driver<536 brand=tesla,driver>=550,driver<551"
)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the driver installed; the folder of its hardware's state."""
    install.install(tmp_path)
    folder = tmp_path / "var/lib/gpu-sim"
    (folder / "driver").touch()
    monkeypatch.setenv("GPU_SIM_STATE", str(folder))
    return folder


def smi(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = nvidia_smi.main(list(arguments))
    return code, capsys.readouterr().out


def gpu_sim(*arguments: str) -> None:
    assert control.main(list(arguments)) == 0


def test_list_is_what_the_kept_answer_says(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smi(capsys, "-L") == (0, (FIXTURES / "nvidia-smi-L.txt").read_text())


def test_query_without_header_and_units(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "--query-gpu=index,memory.total,power.limit,persistence_mode"
    code, output = smi(capsys, query, "--format=csv,noheader,nounits", "-i", "1")
    assert (code, output) == (0, "1, 10240, 320.00, Disabled\n")


@pytest.mark.parametrize("card", ["4", TWITCH, "00000000:08:00.0", "08:00.0"])
def test_a_card_is_chosen_by_index_uuid_or_bus(
    machine: Path, capsys: pytest.CaptureFixture[str], card: str
) -> None:
    assert smi(capsys, "-i", card, "--query-gpu=uuid", "--format=csv,noheader") == (0, f"{TWITCH}\n")


def test_chosen_cards_come_once_in_the_order_of_their_indices(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smi(capsys, "-i", "4,1,7,4", "--query-gpu=index", "--format=noheader") == (0, "1\n4\n")


def test_without_a_driver_nothing_is_answered(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "driver").unlink()
    code, output = smi(capsys, "-L")
    assert code == 9
    assert output.startswith("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")


def test_a_driver_that_waits_for_a_reboot(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu_sim("unload-driver")
    assert smi(capsys, "-L")[0] == 9
    shutil.rmtree(machine / "run")  # what a reboot does to /dev/shm
    assert smi(capsys, "-L")[0] == 0


def test_power_limit(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert smi(capsys, "-i", HEAVY, "-pl", "280") == (
        0,
        "Power limit for GPU 00000000:03:00.0 was set to 280.00 W from 320.00 W.\nAll done.\n",
    )
    code, output = smi(capsys, "-i", HEAVY, "-pl", "400")
    assert code == 2
    assert "should be between 100.00 W and 370.00 W" in output
    query = ("-i", HEAVY, "--query-gpu=power.limit,power.default_limit", "--format=csv,noheader")
    assert smi(capsys, *query) == (0, "280.00 W, 320.00 W\n")


def test_settings_need_root(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with state.runtime():
        pass  # the file is ours before we lose root
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for arguments in (["-pl", "200"], ["-pm", "1"]):
        code, output = smi(capsys, *arguments)
        assert code == 4
        assert "Insufficient Permissions" in output


def test_persistence_mode(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "Enabled persistence mode for GPU 00000000:01:00.0." in smi(capsys, "-pm", "1")[1]
    assert "Persistence mode is already Enabled for GPU 00000000:01:00.0." in smi(capsys, "-pm", "1")[1]
    query = ("--query-gpu=persistence_mode", "--format=csv,noheader", "-i", "0")
    assert smi(capsys, *query) == (0, "Enabled\n")


def test_memory_belongs_to_a_process_and_goes_with_it(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apps = ("--query-compute-apps=gpu_uuid,pid,process_name,used_memory", "--format=csv")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert state.allocate(HEAVY, 5843, "/usr/local/bin/ollama", process.pid)
    assert smi(capsys, *apps)[1].splitlines() == [
        "gpu_uuid, pid, process_name, used_gpu_memory [MiB]",
        f"{HEAVY}, {process.pid}, /usr/local/bin/ollama, 5843 MiB",
    ]
    assert smi(capsys, "-i", "1", "--query-gpu=memory.used,memory.free", "--format=csv,noheader,nounits") == (
        0,
        "5843, 4145\n",
    )
    assert not state.allocate(HEAVY, 4146, "other")
    process.communicate(b"\n")
    assert smi(capsys, *apps)[1].splitlines()[1:] == []


def test_filled_memory_stays_until_it_is_freed(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    used = ("-i", TWITCH, "--query-gpu=memory.used", "--format=csv,noheader,nounits")
    gpu_sim("fill", TWITCH, "7500")
    assert smi(capsys, *used) == (0, "7500\n")
    assert control.main(["fill", TWITCH, "7500"]) == 2
    gpu_sim("free", "4")
    assert smi(capsys, *used) == (0, "0\n")


def test_a_card_taken_away_is_gone_everywhere(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu_sim("take-away", "2")
    assert "GPU-c99d136d" not in smi(capsys, "-L")[1]
    assert smi(capsys, "-i", "3", "--query-gpu=uuid", "--format=csv,noheader")[1] == f"{TWITCH}\n"
    assert not (machine / "pci/devices/0000:06:00.0").exists()
    gpu_sim("give-back")
    assert smi(capsys, "-L")[1] == (FIXTURES / "nvidia-smi-L.txt").read_text()
    assert (machine / "pci/devices/0000:06:00.0/vendor").read_text() == "0x10de\n"


def test_reordering_changes_indices_and_nothing_else(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = ("--query-gpu=pci.bus_id", "--format=csv,noheader")
    gpu_sim("reorder", "3,1,0,2,4")
    buses = smi(capsys, *query)[1].split()
    assert buses == [f"00000000:{bus}:00.0" for bus in ("07", "03", "01", "06", "08")]
    assert control.main(["reorder", "0,1,2"]) == 2


def test_xid_is_logged_as_the_kernel_does(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(syslog, "openlog", lambda identifier, *_: sent.append(identifier))
    monkeypatch.setattr(syslog, "syslog", lambda _, message: sent.append(message))
    gpu_sim("xid", "0", "79")
    assert sent == [
        "kernel",
        "NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
    ]


def hook(monkeypatch: pytest.MonkeyPatch, bundle: Path, environment: list[str]) -> int:
    (bundle / "config.json").write_text(json.dumps({"process": {"env": ["PATH=/bin", *environment]}}))
    monkeypatch.setattr(sys, "argv", ["nvidia-container-runtime-hook", "prestart"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"ociVersion": "1.0", "bundle": str(bundle)})))
    return container.hook()


@pytest.mark.parametrize("value", [TWITCH, "all", "0", f"0,{TWITCH}", "void", "none", ""])
def test_containers_get_cards_that_exist(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    assert hook(monkeypatch, tmp_path, [f"NVIDIA_VISIBLE_DEVICES={value}"]) == 0


def test_containers_without_cards_pass_without_a_driver(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "driver").unlink()
    assert hook(monkeypatch, tmp_path, []) == 0
    assert hook(monkeypatch, tmp_path, ["NVIDIA_VISIBLE_DEVICES=all"]) == 1


@pytest.mark.parametrize(
    "value", ["GPU-d4fb9c68", "GPU-00000000-0000-0000-0000-000000000000", "7", "08:00.0"]
)
def test_containers_asking_for_other_cards_are_refused(
    machine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str,
) -> None:
    assert hook(monkeypatch, tmp_path, [f"NVIDIA_VISIBLE_DEVICES={value}"]) == 1
    assert f"nvidia-container-cli: device error: {value}: unknown device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "refused"),
    [
        ([CUDA_12_6], True),
        ([CUDA_12_6, "NVIDIA_DISABLE_REQUIRE=0"], True),
        ([CUDA_12_6, "NVIDIA_DISABLE_REQUIRE=1"], False),
        (["NVIDIA_REQUIRE_CUDA=cuda>=12.4 brand=tesla,driver>=535,driver<536"], False),
        (["NVIDIA_REQUIRE_CUDA=cuda>=12.6 brand=geforce,driver>=550,driver<551"], False),
        (["NVIDIA_REQUIRE_CUDA=cuda>=12.0", "NVIDIA_REQUIRE_DRIVER=driver>=560"], True),
    ],
)
def test_containers_made_for_another_driver_are_refused(
    machine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: list[str],
    refused: bool,
) -> None:
    assert hook(monkeypatch, tmp_path, [f"NVIDIA_VISIBLE_DEVICES={TWITCH}", *environment]) == refused
    assert ("requirement error: unsatisfied condition: " in capsys.readouterr().err) == refused


def test_the_runtime_adds_the_hook_once(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text("{}")
    container.add_hook(config)
    container.add_hook(config)
    assert len(json.loads(config.read_text())["hooks"]["prestart"]) == 1


def test_ctk_adds_docker_runtime_and_keeps_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "daemon.json"
    config.write_text('{"live-restore": true}')
    assert nvidia_ctk.main(["runtime", "configure", "--runtime=docker", f"--config={config}"]) == 0
    assert json.loads(config.read_text()) == {
        "live-restore": True,
        "runtimes": {"nvidia": {"args": [], "path": "nvidia-container-runtime"}},
    }
    config.write_text("{")
    assert nvidia_ctk.main(["runtime", "configure", f"--config={config}"]) == 1


def test_ctk_lists_what_it_generated(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nvidia_ctk, "CDI_FOLDERS", (tmp_path / "cdi",))
    assert nvidia_ctk.main(["cdi", "list"]) == 0
    assert "Found 0 CDI devices" in capsys.readouterr().err
    assert nvidia_ctk.main(["cdi", "generate", f"--output={tmp_path}/cdi/nvidia.yaml"]) == 0
    assert nvidia_ctk.main(["cdi", "list"]) == 0
    assert f"nvidia.com/gpu={TWITCH}\n" in capsys.readouterr().out


def test_the_real_lspci_shows_the_cards(machine: Path) -> None:
    def lspci() -> list[str]:
        command = ["lspci", "-O", f"sysfs.path={machine}/pci", "-n", "-d", "10de::0300"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    assert lspci() == [
        "01:00.0 0300: 10de:2484 (rev a1)",
        "03:00.0 0300: 10de:2206 (rev a1)",
        "06:00.0 0300: 10de:2484 (rev a1)",
        "07:00.0 0300: 10de:2484 (rev a1)",
        "08:00.0 0300: 10de:2489 (rev a1)",
    ]
    gpu_sim("take-away", "01:00.0")
    assert len(lspci()) == 4


def test_the_configuration_header_says_what_the_files_say(machine: Path) -> None:
    folder = machine / "pci/devices/0000:03:00.0"
    header = (folder / "config").read_bytes()
    assert len(header) == 64

    def word(offset: int, size: int) -> str:
        return f"0x{int.from_bytes(header[offset : offset + size], 'little'):0{2 * size}x}\n"

    for name, offset, size in (
        ("vendor", 0x00, 2),
        ("device", 0x02, 2),
        ("revision", 0x08, 1),
        ("class", 0x09, 3),
        ("subsystem_vendor", 0x2C, 2),
        ("subsystem_device", 0x2E, 2),
    ):
        assert word(offset, size) == (folder / name).read_text(), name
    assert header[0x3C] == int((folder / "irq").read_text())


def test_packages_are_the_same_bytes_at_every_build(tmp_path: Path) -> None:
    first, second = (packages.build(tmp_path / name, kernel="6.1.0-1-amd64") for name in "ab")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert {file.name.split("_")[0] for file in first} >= {
        "nvidia-driver",
        "nvidia-smi",
        "nvidia-persistenced",
        "nvidia-container-toolkit",
        "linux-headers-6.1.0-1-amd64",
    }


def test_installing_again_keeps_the_state_of_the_cards(machine: Path, tmp_path: Path) -> None:
    gpu_sim("take-away", "0")
    install.install(tmp_path)
    assert len(state.load().present) == 4


def test_the_installed_program_runs_without_the_checkout(machine: Path, tmp_path: Path) -> None:
    program = install.launcher("nvidia_smi").replace("/usr/lib", f"{tmp_path}/usr/lib")
    run = subprocess.run(
        [sys.executable, "-", "-L"], input=program, capture_output=True, text=True, cwd="/", check=True
    )
    assert run.stdout == (FIXTURES / "nvidia-smi-L.txt").read_text()

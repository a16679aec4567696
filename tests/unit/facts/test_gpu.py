"""The GPU fact: the answers of nvidia-smi, a real one (tests/unit/fixtures/nvidia-smi) and made ones."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from facts import gpu, script
from facts.gpu import GpuCard, Gpus, GpuState
from tests.unit.paths import FIXTURES

LIST = (FIXTURES / "nvidia-smi-L.txt").read_text().splitlines()
HEAVY = "GPU-bdb1f5e4-7a0e-6c52-93d1-2f6b8c40e7a9"
# The row of that card as nvidia-smi answers gpus.sh, in the order of FIELDS.
ROW = f"{HEAVY}, NVIDIA GeForce RTX 3080, 00000000:03:00.0, 10240, 550.163.01, 280.00, 100.00, 370.00"
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
    "NVIDIA driver is installed and running."
)


def test_list_of_the_five_cards() -> None:
    cards = gpu.parse_list(LIST)
    assert len(cards) == 5
    assert cards[1] == GpuCard(HEAVY, "NVIDIA GeForce RTX 3080")


def test_list_passes_over_slices_and_messages() -> None:
    lines = [
        "GPU 0: NVIDIA H100 (UUID: GPU-5c89852c-d268-c3f3-1b07-005d5ae1dc3f)",
        "  MIG 1g.10gb     Device  0: (UUID: MIG-40f43250-998e-586a-ac37-d6520e92590f)",
        "Unable to determine the device handle for gpu 0000:06:00.0: GPU is lost.  Reboot the system.",
    ]
    assert [card.name for card in gpu.parse_list(lines)] == ["NVIDIA H100"]


def test_query() -> None:
    assert gpu.parse_query([ROW]) == [
        GpuCard(
            uuid=HEAVY,
            name="NVIDIA GeForce RTX 3080",
            bus="03:00.0",
            memory_total_mib=10240,
            driver="550.163.01",
            power_limit_w=280.0,
            power_min_w=100.0,
            power_max_w=370.0,
        )
    ]


def test_query_without_values() -> None:
    row = f"{HEAVY}, NVIDIA T400, 00000000:03:00.0, [N/A], 550.1, [Not Supported], N/A, [Unknown Error]"
    (card,) = gpu.parse_query([row])
    assert card.memory_total_mib is None
    assert (card.power_limit_w, card.power_min_w, card.power_max_w) == (None, None, None)
    assert card.driver == "550.1"


@pytest.mark.parametrize(
    ("written", "short"),
    [
        ("00000000:03:00.0", "03:00.0"),
        ("0000:0A:00.0", "0a:00.0"),
        ("06:00.0", "06:00.0"),
        ("0001:06:00.0",) * 2,
    ],
)
def test_pci_address(written: str, short: str) -> None:
    assert gpu.pci_address(written) == short


def test_answer_of_all_parts() -> None:
    state = gpu.parse(["@@list", *LIST, "@@status 0", "@@query", ROW])
    assert state.installed
    assert state.error is None
    assert len(state.gpus) == 5
    assert state.gpus[1].memory_total_mib == 10240
    assert state.gpus[0].memory_total_mib is None  # listed, not asked


def test_answer_of_a_real_card() -> None:
    uuid = "GPU-c38a1b2a-3a87-e7fb-5f19-5fcccd9ead06"
    assert gpu.parse((FIXTURES / "nvidia-smi/gpus.txt").read_text().splitlines()) == GpuState(
        installed=True,
        gpus=(
            GpuCard(
                uuid=uuid,
                name="NVIDIA H200",
                bus="00:06.0",
                memory_total_mib=143771,
                driver="580.159.04",
                power_limit_w=700.0,
                power_min_w=200.0,
                power_max_w=700.0,
            ),
        ),
    )


def test_driver_that_does_not_answer_is_not_a_missing_one() -> None:
    state = gpu.parse(["@@list", NO_DRIVER, "@@status 9", "@@query", NO_DRIVER])
    assert state == GpuState(installed=True, error=NO_DRIVER)
    assert Gpus.default() == GpuState(installed=False)


def test_driver_that_hangs_has_an_error_too() -> None:
    assert gpu.parse(["@@list", "@@status 124", "@@query"]).error == "nvidia-smi -L ended with status 124"


def test_prefixes() -> None:
    state = gpu.parse(["@@list", *LIST, "@@status 0"])
    assert [card.uuid for card in state.matching("GPU-bdb1f5e4")] == [HEAVY]
    assert len(state.matching("GPU-")) == 5
    assert state.matching("GPU-0000") == ()


def ask(path: Path) -> list[str]:
    """The fact's own command, with `path` before everything else."""
    command = Gpus().command().get_raw_value()
    environment = {"PATH": f"{path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_command_asks_the_fields_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text('#!/bin/sh\necho "$*"\nexit 3\n')
    (tmp_path / "nvidia-smi").chmod(0o755)
    answer = dict(script.sections(ask(tmp_path)))
    assert answer["query"] == [f"--query-gpu={','.join(gpu.FIELDS)} --format=csv,noheader,nounits"]
    assert "status 3" in answer


def test_command_without_nvidia_smi_says_nothing(tmp_path: Path) -> None:
    for name in ("sh", "timeout"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    command = Gpus().command().get_raw_value()
    done = subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": str(tmp_path)}, check=True, capture_output=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")

"""Puts the simulated hardware into a root: what is there before any driver is, as cards in slots are."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.hardware.gpusim import pci, state

HERE = Path(__file__).parent
LIBRARY = Path("usr/lib/gpu-sim")
UNIT = "gpu-sim-pci.service"

LAUNCHER = """\
#!/usr/bin/python3
import sys

sys.path.insert(0, "/usr/lib/gpu-sim")
from gpusim.{module} import {function}

sys.exit({function}())
"""


def launcher(module: str, function: str = "main") -> str:
    """A program on PATH whose code is in /usr/lib/gpu-sim."""
    return LAUNCHER.format(module=module, function=function)


def install(root: Path) -> None:
    """Copy the simulation, its `gpu-sim` command and the machine's cards into a root folder.

    A boot unit shows the cards to lspci. The state of cards that is already there is kept.
    """
    shutil.copytree(
        HERE / "gpusim",
        root / LIBRARY / "gpusim",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    program = root / "usr/local/sbin/gpu-sim"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(launcher("control"))
    program.chmod(0o755)

    hardware = root / "var/lib/gpu-sim"
    hardware.mkdir(parents=True, exist_ok=True)
    if not (hardware / "gpus.json").exists():
        shutil.copy(HERE / "gpus.json", hardware)
    pci.write_tree(state.load(hardware), hardware / "pci")

    units = root / "etc/systemd/system"
    wants = units / "sysinit.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / UNIT, units)
    link = wants / UNIT
    link.unlink(missing_ok=True)
    link.symlink_to(f"../{UNIT}")

"""Which hardware the lab's server presents: the processor and memory of one of the declared profiles."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from blueprint.model import HardwareProfile


def present(root: Path, name: str) -> None:
    """Write what `/proc/cpuinfo` and `/proc/meminfo` of the machine say, now and after every boot.

    :param root: the machine's root folder
    :param name: of a profile in group_data/
    """
    declared: HardwareProfile = importlib.import_module(f"group_data.{name}").profile
    cpu_model = f"Intel(R) {declared.cpu_model} CPU @ 3.20GHz"
    cores, ram_gib = declared.cores, declared.ram_gib
    one = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    one = re.sub(r"(?m)^(model name\s*: ).*", rf"\g<1>{cpu_model}", one)
    one = re.sub(r"(?m)^((?:siblings|cpu cores)\s*: ).*", rf"\g<1>{cores}", one)
    stanzas = [re.sub(r"(?m)^((?:processor|core id)\s*: ).*", rf"\g<1>{n}", one) for n in range(cores)]
    total = int(ram_gib * 1024 * 1024 * 0.97)  # the kernel keeps some for itself
    memory = Path("/proc/meminfo").read_text()
    memory = re.sub(r"(?m)^(MemTotal:\s+)\d+", rf"\g<1>{total}", memory)
    memory = re.sub(r"(?m)^(Mem(?:Free|Available):\s+)\d+", rf"\g<1>{total * 3 // 4}", memory)
    folder = root / "var/lib/lab"
    folder.mkdir(parents=True, exist_ok=True)
    # In place: the files may be mounted over the kernel's.
    (folder / "cpuinfo").write_text("\n\n".join([*stanzas, ""]))
    (folder / "meminfo").write_text(memory)

"""What the machine is, and what it can therefore carry (requirements 1.1 to 1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from blueprint.model.declaration import Declaration, checking


@dataclass(frozen=True, kw_only=True)
class HardwareProfile(Declaration):
    """A machine's processor and memory, and the settings that follow from them.

    :param name: inventory group and file in group_data/
    :param cpu_model: part of the `model name` in /proc/cpuinfo
    :param cores: processors that /proc/cpuinfo lists
    :param ram_gib: memory fitted, in GiB; the kernel reports somewhat less
    :param disk_gib: size of its file system as df shows it, in GiB
    :param ollama_parallel: OLLAMA_NUM_PARALLEL of each instance, by its name
    :param litellm_workers: processes of the LiteLLM proxy; each is a whole Python of its own
    :param zram_percent: compressed swap, in percent of the memory
    """

    name: str
    cpu_model: str
    cores: int
    ram_gib: int
    disk_gib: int
    ollama_parallel: Mapping[str, int]
    litellm_workers: int = 1
    zram_percent: int = 50

    def __post_init__(self) -> None:
        with checking(f"HardwareProfile {self.name}") as check:
            check.name("name", self.name)
            check.that(
                isinstance(self.cpu_model, str) and self.cpu_model, "cpu_model", self.cpu_model, "a name"
            )
            check.integer("cores", self.cores, 1, 1024)
            check.integer("ram_gib", self.ram_gib, 1, 4096, "GiB")
            check.integer("disk_gib", self.disk_gib, 8, 1024 * 1024, "GiB")
            check.integer("litellm_workers", self.litellm_workers, 1, 64)
            check.integer("zram_percent", self.zram_percent, 0, 200, "% of the memory")
            for instance, parallel in self.ollama_parallel.items():
                check.integer(f"ollama_parallel[{instance!r}]", parallel, 1, 1024, "requests at once")

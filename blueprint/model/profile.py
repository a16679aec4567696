"""What the machine is, and the settings that follow (requirements 1.1 to 1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from blueprint.model import types
from blueprint.model.declaration import Declaration, declaration
from blueprint.validation import Whole


@declaration()
class HardwareProfile(Declaration):
    """A machine's processor and memory, and the settings that follow from them.

    :param name: inventory group and file in group_data/
    :param cpu_model: part of the `model name` in /proc/cpuinfo
    :param cores: processors that /proc/cpuinfo lists
    :param ram_gib: installed memory, in GiB; the kernel reports somewhat less
    :param disk_gib: size of its file system as df shows it, in GiB
    :param ollama_parallel: OLLAMA_NUM_PARALLEL of each instance, by its name
    :param litellm_workers: processes of the LiteLLM proxy, each a Python of its own
    :param zram_percent: compressed swap, in percent of the memory
    """

    name: types.Name
    cpu_model: types.SomeText
    cores: Annotated[int, Whole(1, 1024)]
    ram_gib: Annotated[int, Whole(1, 4096, "GiB")]
    disk_gib: Annotated[int, Whole(8, 1024 * 1024, "GiB")]
    ollama_parallel: Mapping[str, Annotated[int, Whole(1, 1024, "requests at once")]]
    litellm_workers: Annotated[int, Whole(1, 64)] = 1
    zram_percent: Annotated[int, Whole(0, 200, "% of the memory")] = 50

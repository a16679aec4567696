"""Budget of the host's memory: containers, Ollama's instances, the system (requirements 2.2).

A container's limit is a ceiling and no reservation, so there are two sums: all limits, and all measured memory. Only
the second one can be refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blueprint.model import HardwareProfile, OllamaInstance, Stack, Whisper
from blueprint.problems import Violation

# Percentage of the capacity from which a run warns.
WARNING_PERCENT = 90

SYSTEM, OLLAMA, WHISPER = "system", "Ollama", "whisper"


@dataclass(frozen=True)
class MemoryUse:
    """A use of memory.

    :param of: stack, or another owner
    :param what: container or process
    :param limit_mib: its limit, in MiB
    :param measured_mib: its measured use, in MiB; None if it is not measured
    """

    of: str
    what: str
    limit_mib: int
    measured_mib: int | None = None


@dataclass(frozen=True)
class MemoryBudget:
    """All uses of memory, and the memory of the machine.

    :param physical_mib: memory of the machine, in MiB
    :param zram_mib: what fits into compressed swap, in MiB; requirements 2.2 counts it as memory, although its content
        takes some of the physical
    """

    uses: tuple[MemoryUse, ...]
    physical_mib: int
    zram_mib: int

    @property
    def capacity_mib(self) -> int:
        """Memory and zram: beyond this, pages go to the disk."""
        return self.physical_mib + self.zram_mib

    @property
    def limits_mib(self) -> int:
        """Sum of all limits."""
        return sum(use.limit_mib for use in self.uses)

    @property
    def measured_mib(self) -> int:
        """Sum of the measured memory, without uses that are not measured."""
        return sum(use.measured_mib or 0 for use in self.uses)

    @property
    def unmeasured(self) -> tuple[MemoryUse, ...]:
        """Uses that are not measured."""
        return tuple(use for use in self.uses if use.measured_mib is None)

    @property
    def most_mib(self) -> int:
        """Sum of the measured memory, and of the limits of what is not measured."""
        return self.measured_mib + sum(use.limit_mib for use in self.unmeasured)

    @property
    def capacity(self) -> str:
        """The arithmetic of the capacity."""
        return f"{self.capacity_mib} MiB = {self.physical_mib} of memory + {self.zram_mib} of zram"

    def problems(self, file: str) -> Iterator[Violation]:
        """A problem, with its arithmetic, where the measured memory does not fit.

        :param file: where the machine is declared, for messages
        """
        if self.measured_mib > self.capacity_mib:
            largest = sorted(self.uses, key=lambda use: -(use.measured_mib or 0))[:3]
            most = ", ".join(f"{use.what} {use.measured_mib}" for use in largest)
            yield Violation(
                file,
                "memory",
                f"asked for {self.measured_mib} MiB ({self._parts('measured_mib')})",
                f"asked for at most {self.capacity}",
                f"leave something out, or fit more memory; the largest are {most}",
            )

    def warnings(self) -> Iterator[str]:
        """A sentence for each sum that is near the capacity, or beyond."""
        if self.limits_mib > self.capacity_mib:
            yield (
                f"memory: the limits add up to {self.limits_mib} MiB ({self._parts('limit_mib')}), the machine"
                f" has {self.capacity}; limits are ceilings, and memory beyond the capacity is swapped to the disk"
            )
        if 100 * self.measured_mib > WARNING_PERCENT * self.capacity_mib:
            yield (
                f"memory: {self.measured_mib} MiB are measured, more than {WARNING_PERCENT} % of {self.capacity}"
            )

    def _parts(self, figure: str) -> str:
        sums: dict[str, int] = {}
        for use in self.uses:
            sums[use.of] = sums.get(use.of, 0) + (getattr(use, figure) or 0)
        return " + ".join(f"{of} {mib}" for of, mib in sums.items() if mib)


def memory_budget(
    *,
    stacks: Iterable[Stack],
    instances: Iterable[OllamaInstance],
    whisper: Whisper,
    profile: HardwareProfile,
    system_mib: int,
    ollama_mib: int,
    physical_mib: int | None = None,
) -> MemoryBudget:
    """The budget of a machine.

    :param stacks: its stacks
    :param system_mib: memory of the system, the Docker engine and Coolify
    :param ollama_mib: memory of each Ollama instance, beside its card
    :param physical_mib: memory of the actual machine; without it, of the profile
    """
    physical = profile.ram_gib * 1024 if physical_mib is None else physical_mib
    return MemoryBudget(
        uses=(
            *(
                MemoryUse(stack.name, service.name, service.memory_mib, service.measured_memory_mib)
                for stack in stacks
                for service in stack.services
            ),
            MemoryUse(WHISPER, whisper.name, whisper.memory_mib),
            *(MemoryUse(OLLAMA, instance.unit, ollama_mib, ollama_mib) for instance in instances),
            MemoryUse(SYSTEM, "system, Docker, Coolify", system_mib, system_mib),
        ),
        physical_mib=physical,
        zram_mib=physical * profile.zram_percent // 100,
    )

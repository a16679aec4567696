"""Memory for containers that are about to be created."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from facts.cache import cached_fact
from facts.memory import Memory, MemoryState
from operations.checks import check
from specs.problems import Problem


@check
def available(mib: int, containers: Sequence[str], remedy: str) -> Iterator[Problem]:
    """Enough memory is available for the containers that do not run yet.

    + mib: that has to be available, in MiB, before the first of them is started
    + containers: their names
    + remedy: what a person can do about too little
    """
    state: MemoryState = cached_fact(Memory, containers=list(containers))
    if state.available_mib is None or state.running.issuperset(containers):
        return
    if state.available_mib < mib:
        yield Problem(
            f"memory for {', '.join(containers)}",
            f"{state.available_mib} MiB available",
            f"{mib} MiB before they are started",
            remedy,
        )

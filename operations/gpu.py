"""The cards of a host, through their NVIDIA driver."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.cache import cached_fact
from facts.files import Tree, TreeState
from facts.gpu import GpuCard, Gpus, GpuState
from operations import script


def other_limits(state: GpuState, limits: Mapping[str, int]) -> list[tuple[GpuCard, int]]:
    """The cards whose power limit differs from the declared one, each with the declared one.

    :raises OperationError: a UUID is not that of exactly one card
    """
    others = []
    for uuid, watts in limits.items():
        cards = state.matching(uuid)
        if len(cards) != 1:
            found = ", ".join(card.uuid for card in state.gpus) or state.error or "no card"
            raise OperationError(
                f"power limit of {uuid}: found {found}, expected exactly one card of that UUID"
            )
        if cards[0].power_limit_w != watts:
            others.append((cards[0], watts))
    return others


@operation()
def power_limits(limits: Mapping[str, int]) -> Generator[StringCommand, None, None]:
    """Hold cards to power limits until the machine restarts; cards that are not named are left alone.

    + limits: watts, by UUID or the beginning of it

    Raises `OperationError` for a UUID that is not that of exactly one card.
    """
    for watts in limits.values():
        if watts <= 0:
            raise OperationValueError(f"power limit of {watts} W: expected a positive number of watts")
    state = cached_fact(Gpus)
    # While a first run is prepared there is no driver yet.
    others = other_limits(state, limits) if state.installed else []
    if not others:
        host.noop("power limits as declared")
    for card, watts in others:
        yield StringCommand("nvidia-smi", "-i", QuoteString(card.uuid), "-pl", QuoteString(str(watts)))


@dataclass(frozen=True)
class TimeSharing:
    """An Ollama instance and a container that take turns on a card.

    :param port: of the instance
    :param model: that is resident on the card, except while the container needs it
    :param uuid: full UUID of the card
    :param mib: VRAM that the container needs, in MiB
    :param container: its name
    :param answer_s: seconds within which the model has to answer again
    """

    port: int
    model: str
    uuid: str
    mib: int
    container: str
    answer_s: int

    @property
    def mark(self) -> str:
        """The content of the host's file that records a success."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@operation()
def time_sharing(sharing: TimeSharing, state_file: str, lock: str) -> Generator[StringCommand, None, None]:
    """Try once that they take turns: the model leaves the card, its memory is free, the container has it, the model is
    back and answers. It is tried again when one of them is declared otherwise, or until it succeeded.

    + sharing: who shares which card
    + state_file: file on the host in which the success is marked
    + lock: file that the GPU watchdog locks; it is kept out meanwhile
    """
    if sharing.mib <= 0 or sharing.answer_s <= 0:
        raise OperationValueError(f"{sharing.mib} MiB and {sharing.answer_s} s: expected numbers above 0")
    tree: TreeState = cached_fact(Tree, paths=[state_file])
    mark = tree.entries.get(state_file)
    marked = hashlib.sha256(f"{sharing.mark}\n".encode()).hexdigest()
    if mark is not None and mark.sha256 == marked:
        host.noop(f"{sharing.container} and {sharing.model} were seen to take turns")
        return
    yield script.run(
        "gpu/time-sharing.sh",
        *(sharing.port, sharing.model, sharing.uuid, sharing.mib, sharing.container, sharing.answer_s),
        *(lock, state_file, sharing.mark),
        stream=True,
    )

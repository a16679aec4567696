"""Operations whose arguments need the full UUIDs of the cards, which only the driver knows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from weakref import WeakKeyDictionary

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import ctx_host

from blueprint import Blueprint, DeclarationError, render_problems
from facts.cache import cached_fact
from facts.gpu import Gpus, GpuState
from specs.problems import Problem

# UUIDs of each host, once its driver has answered: they stay the same for a run, and nvidia-smi is the slowest command
# of a run that changes nothing.
_known: WeakKeyDictionary[object, dict[str, str]] = WeakKeyDictionary()


def full_uuids(blueprint: Blueprint, state: GpuState) -> dict[str, str]:
    """The full UUID of each declared card, by the one that is declared.

    Without a driver the declared UUIDs stand in: the dry run of a new machine then shows these operations as changes.

    :raises OperationError: a declared card is not the one card that the driver lists
    """
    if not state.installed:
        return {gpu.uuid: gpu.uuid for gpu in blueprint.gpus}
    try:
        cards = blueprint.resolve_gpus(state.gpus)
    except DeclarationError as error:
        raise OperationError(render_problems(error.problems)) from error
    return {declared: card.uuid for declared, card in cards.items()}


def old_driver(blueprint: Blueprint, state: GpuState, remedy: str) -> Iterator[Problem]:
    """A problem for each loaded driver that is too old for Ollama."""
    for driver in sorted({card.driver for card in state.gpus if card.driver}):
        if int(driver.split(".")[0]) < blueprint.nvidia_driver_minimum:
            yield Problem("NVIDIA driver", driver, f"{blueprint.nvidia_driver_minimum} or newer", remedy)


@operation()
def with_cards(
    blueprint: Blueprint, step: Callable[[Mapping[str, str]], Iterable[PyinfraCommand]]
) -> Generator[PyinfraCommand, None, None]:
    """Run an operation with the full UUIDs of the cards, as the driver lists them.

    + blueprint: the host's declarations
    + step: makes the operation's commands from the full UUID of each declared card, by the declared one:
        `lambda uuids: files.tree._inner(entries=entries(uuids))`
    """
    this = ctx_host.get()  # type: ignore[no-untyped-call] # `host` is only a proxy of it
    uuids = _known.get(this)
    if uuids is None:
        state = cached_fact(Gpus)
        uuids = full_uuids(blueprint, state)
        if state.installed:
            _known[this] = uuids
    yield from step(uuids)

"""Operations whose arguments name GPUs by their full UUID, which only the driver knows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import ctx_host

from blueprint import Blueprint, DeclarationError, render_problems
from facts.cache import cached_fact
from facts.gpu import Gpus, GpuState
from operations.checks import Problem

# What the driver of each host said, once it was there: a card has the same UUID for as long as a run lasts, and asking
# is what costs most where nothing changes.
_known: WeakKeyDictionary[object, dict[str, str]] = WeakKeyDictionary()


def full_uuids(blueprint: Blueprint, state: GpuState) -> dict[str, str]:
    """The full UUID of each declared card, by the one that is declared.

    Before there is a driver the declared ones stand in: a run that is only prepared then shows that something would
    change, which is so.

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
    """A problem where the driver that is loaded is older than Ollama works with."""
    for driver in sorted({card.driver for card in state.gpus if card.driver}):
        if int(driver.split(".")[0]) < blueprint.nvidia_driver_minimum:
            yield Problem("NVIDIA driver", driver, f"{blueprint.nvidia_driver_minimum} or newer", remedy)


@operation()
def with_cards(
    blueprint: Blueprint,
    step: PyinfraOperation[Any],
    arguments: Callable[[Mapping[str, str]], dict[str, Any]],
) -> Generator[PyinfraCommand, None, None]:
    """Do `step` with arguments that are made from the cards as the driver lists them.

    + blueprint: the host's declarations
    + step: an operation
    + arguments: makes its arguments from the full UUID of each declared card
    """
    this = ctx_host.get()  # type: ignore[no-untyped-call] # `host` is only a proxy of it
    uuids = _known.get(this)
    if uuids is None:
        state = cached_fact(Gpus)
        uuids = full_uuids(blueprint, state)
        if state.installed:
            _known[this] = uuids
    yield from step._inner(**arguments(uuids))

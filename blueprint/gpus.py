"""The card of the machine that a declared UUID, or the prefix of one, refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from blueprint.model import Gpu
from blueprint.problems import DeclarationError, Violation


class ActualGpu(Protocol):
    """A card as the driver reports it; None for values of a card that is listed and does not answer."""

    @property
    def uuid(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def bus(self) -> str | None: ...
    @property
    def memory_total_mib(self) -> int | None: ...


Card = TypeVar("Card", bound=ActualGpu)


def matching_gpus(reference: str, gpus: Iterable[Gpu]) -> list[Gpu]:
    """The declared cards that a reference such as `OllamaInstance.gpu` can mean; it should be exactly one.

    Either UUID may be the prefix of the other: some cards are declared by a prefix, others by the full UUID.
    """
    return [gpu for gpu in gpus if gpu.uuid.startswith(reference) or reference.startswith(gpu.uuid)]


def resolve_gpus(
    declared: Sequence[Gpu], actual: Sequence[Card], file: str = "group_data/gpu.py"
) -> dict[str, Card]:
    """Find each declared card among those of the machine.

    :param declared: the declared cards
    :param actual: the cards of the driver, which may be more
    :param file: where the cards are declared, for messages
    :return: the card in the machine, by the declared UUID
    :raises DeclarationError: with every card that is missing, ambiguous or another model than declared
    """
    problems: list[Violation] = []
    found: dict[str, Card] = {}
    for gpu in declared:
        key = f"gpus.{gpu.uuid}"
        cards = [card for card in actual if card.uuid.startswith(gpu.uuid)]
        if len(cards) != 1:
            problems.append(_not_one(file, key, cards, actual))
            continue
        found[gpu.uuid] = cards[0]
        problems += _differences(file, key, gpu, cards[0])
    if problems:
        raise DeclarationError(problems)
    return found


def _not_one(file: str, key: str, cards: Sequence[ActualGpu], actual: Sequence[ActualGpu]) -> Violation:
    if cards:
        uuids = " and ".join(card.uuid for card in cards)
        return Violation(
            file, key, f"the prefix of {uuids}", "the prefix of exactly one card", "write more of its UUID"
        )
    present = ", ".join(f"{card.uuid} ({card.bus})" for card in actual) or "none"
    return Violation(
        file,
        key,
        "not in the machine",
        f"a card that the driver lists: {present}",
        "look at `nvidia-smi -L` and at dmesg: a card that fell off the bus comes back with a power cycle",
    )


def _differences(file: str, key: str, gpu: Gpu, card: ActualGpu) -> Iterator[Violation]:
    if card.bus is None or card.memory_total_mib is None:
        remedy = "look at dmesg for its Xid errors; a power cycle may bring it back"
        yield Violation(file, key, "a card that the driver lists and cannot ask", "one that answers", remedy)
        return
    if _bus(card.bus) != gpu.bus:
        remedy = "was it moved to another slot?"
        yield Violation(file, f"{key}.bus", gpu.bus, f"{_bus(card.bus)}, where the driver sees it", remedy)
    if card.name != gpu.model and not card.name.endswith(f" {gpu.model}"):
        yield Violation(file, f"{key}.model", gpu.model, f"{card.name}, as the driver calls it")
    if card.memory_total_mib < gpu.vram_mib:
        found = str(gpu.vram_mib)
        yield Violation(file, f"{key}.vram_mib", found, f"at most the card's {card.memory_total_mib}")


def _bus(address: str) -> str:
    """nvidia-smi's "00000000:01:00.0" as lspci writes it, "01:00.0"."""
    return address.lower().removeprefix("00000000:").removeprefix("0000:")

"""Each declared card is exactly one card of the machine, or the run stops with every difference."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from blueprint import DeclarationError
from blueprint.gpus import matching_gpus, resolve_gpus
from tests.unit.declared import declared, gpu


@dataclass(frozen=True)
class Card:
    """As a fact would report it."""

    uuid: str
    bus: str | None
    name: str
    memory_total_mib: int | None


CARDS = [
    Card("GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e", "00000000:01:00.0", "NVIDIA GeForce RTX 3070", 8192),
    Card("GPU-bdb1f5e4-0000-4000-8000-000000000001", "00000000:03:00.0", "NVIDIA GeForce RTX 3080", 10240),
    Card("GPU-d4fb9c68-2b3c-a854-97ed-c82b3c580122", "00000000:08:00.0", "NVIDIA GeForce RTX 3060 Ti", 8192),
]


def problems(*args: object) -> list[str]:
    with pytest.raises(DeclarationError) as refused:
        resolve_gpus(*args)  # type: ignore[arg-type]
    return [str(problem) for problem in refused.value.problems]


def test_prefixes_become_full_uuids_whatever_the_order() -> None:
    blueprint = declared()
    found = blueprint.resolve_gpus(list(reversed(CARDS)))
    assert [found[card.uuid].uuid for card in blueprint.gpus] == [card.uuid for card in CARDS]


def test_more_cards_than_declared_are_no_problem() -> None:
    assert resolve_gpus([gpu()], CARDS) == {"GPU-85c38fae": CARDS[0]}


def test_bus_may_have_a_domain_of_four_digits() -> None:
    resolve_gpus([gpu()], [Card(CARDS[0].uuid, "0000:01:00.0", "RTX 3070", 8192)])


def test_a_missing_card() -> None:
    (problem,) = problems([gpu()], CARDS[1:])
    assert "gpus.GPU-85c38fae is not in the machine" in problem
    assert CARDS[-1].uuid in problem


def test_a_prefix_of_two_cards() -> None:
    (problem,) = problems(
        [gpu(uuid="GPU-85c3")], [*CARDS, Card("GPU-85c3ffff-0", "09:00.0", "RTX 3070", 8192)]
    )
    assert f"the prefix of {CARDS[0].uuid} and GPU-85c3ffff-0" in problem
    assert "write more of its UUID" in problem


def test_every_difference_of_every_card_is_named() -> None:
    found = problems(
        [gpu(bus="02:00.0", model="RTX 3080", vram_mib=10240), gpu(uuid="GPU-ffff")],
        [Card(CARDS[0].uuid, "00000000:01:00.0", "NVIDIA GeForce RTX 3070", 8192)],
    )
    assert len(found) == 4
    assert "gpus.GPU-85c38fae.bus is 02:00.0, but must be 01:00.0" in found[0]
    assert "gpus.GPU-85c38fae.model is RTX 3080, but must be NVIDIA GeForce RTX 3070" in found[1]
    assert "gpus.GPU-85c38fae.vram_mib is 10240, but must be at most the card's 8192" in found[2]


def test_a_name_that_only_begins_alike_is_another_card() -> None:
    (problem,) = problems(
        [gpu(model="RTX 3060")], [Card(CARDS[0].uuid, "01:00.0", "NVIDIA GeForce RTX 3060 Ti", 8192)]
    )
    assert "model" in problem


def test_a_reference_may_be_longer_or_shorter_than_the_declared_uuid() -> None:
    cards = [gpu(), gpu(uuid="GPU-d4fb9c68-2b3c-a854-97ed-c82b3c580122", bus="08:00.0")]
    assert matching_gpus("GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e", cards) == cards[:1]
    assert matching_gpus("GPU-d4fb9c68", cards) == cards[1:]
    assert matching_gpus("GPU-ffff", cards) == []


def test_a_card_that_the_driver_lists_and_cannot_ask() -> None:
    (problem,) = problems([gpu()], [Card(CARDS[0].uuid, None, "NVIDIA GeForce RTX 3070", None)])
    assert "gpus.GPU-85c38fae is a card that the driver lists and cannot ask" in problem

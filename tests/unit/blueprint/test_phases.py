"""What `--data phase=` takes."""

from __future__ import annotations

import pytest

from blueprint import DeclarationError, selected_phases

# Run order, not that of the numbers.
AVAILABLE = {"hardware": 0, "litellm": 1, "monitoring": 3, "augmenter": 2}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("all", ("hardware", "litellm", "monitoring", "augmenter")),
        ("hardware", ("hardware",)),
        (0, ("hardware",)),
        ("0", ("hardware",)),
        ("augmenter,3", ("monitoring", "augmenter")),
        ("litellm, hardware, litellm,", ("hardware", "litellm")),
        (["augmenter", 1], ("litellm", "augmenter")),
        (("hardware",), ("hardware",)),
        (["hardware,litellm", "all"], ("hardware", "litellm", "monitoring", "augmenter")),
    ],
)
def test_names_numbers_lists_and_commas_in_the_order_they_run(
    value: object, expected: tuple[str, ...]
) -> None:
    assert selected_phases(value, AVAILABLE) == expected


@pytest.mark.parametrize("value", ["", [], ",", 7, True, None, "hardware;litellm"])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(DeclarationError, match=r"one of hardware \(0\), litellm \(1\), .*, all"):
        selected_phases(value, AVAILABLE)


def test_each_unknown_phase_is_named_with_what_may_have_been_meant() -> None:
    with pytest.raises(DeclarationError) as refused:
        selected_phases("hardwrae,litelm", AVAILABLE)
    first, second = map(str, refused.value.problems)
    assert first == (
        "--data: phase is 'hardwrae', but must be one of hardware (0), litellm (1), monitoring (3), augmenter (2), all;"
        " did you mean hardware?"
    )
    assert second.endswith("did you mean litellm?")


def test_a_message_is_short_whatever_it_is_about() -> None:
    with pytest.raises(DeclarationError) as error:
        selected_phases(f"{'x' * 10**6},{'y,' * 10**4}", {"hardware": 0})
    first, second = map(str, error.value.problems)
    assert max(len(first), len(second)) < 300

"""Names of phases, and those that `--data phase=…` selects."""

from __future__ import annotations

from collections.abc import Mapping

from blueprint.problems import DeclarationError, Violation, closest
from blueprint.validation import shown

ALL = "all"
# The phases that every project depends on; the second deploys the servers with data.
HARDWARE, LITELLM, MONITORING = "hardware", "litellm", "monitoring"
# Their numbers in the checklist.
PLATFORM = {HARDWARE: 0, LITELLM: 1, MONITORING: 3}
# The phases with the stacks of group_data/shared.py.
SHARED = (LITELLM, MONITORING)


def selected_phases(value: object, available: Mapping[str, int]) -> tuple[str, ...]:
    """The phases that `--data phase=…` selects.

    :param value: "all", a name, a number of the checklist, several of these with commas between them, or a list
    :param available: number in the checklist of each phase, by its name, in the order in which they run
    :return: names in that order, each once
    :raises DeclarationError: with a problem for each value that is no phase
    """
    selected: set[str] = set()
    problems: list[Violation] = []
    allowed = ", ".join([*(f"{name} ({number})" for name, number in available.items()), ALL])
    by_number = {str(number): name for name, number in available.items()}
    for word in dict.fromkeys(words(value) or ("",)):
        if word == ALL:
            selected.update(available)
        elif (name := by_number.get(word, word)) in available:
            selected.add(name)
        else:
            problems.append(
                Violation(
                    "--data", "phase", shown(word), f"one of {allowed}", closest(word, [*available, ALL])
                )
            )
    if problems:
        raise DeclarationError(problems)
    return tuple(name for name in available if name in selected)


def words(value: object) -> tuple[str, ...]:
    """Words of a list, or of a text with commas between them: --data takes both."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(word for item in items for word in (part.strip() for part in str(item).split(",")) if word)

"""Which phases a run is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from blueprint.problems import DeclarationError, Violation, closest

ALL = "all"
# The phases that every project stands on; the second brings the servers that keep data.
HARDWARE, LITELLM, MONITORING = "hardware", "litellm", "monitoring"
# Those that bring the stacks of group_data/shared.py.
SHARED = (LITELLM, MONITORING)


def phases_wanted(value: object, available: Mapping[str, int]) -> tuple[str, ...]:
    """What `--data phase=…` stands for.

    :param value: "all", a name, a number of the checklist, several of these with commas between them, or a list
    :param available: number in the checklist of each phase, by its name, in the order in which they run
    :return: names in that order, each once
    :raises DeclarationError: with each value that is no phase
    """
    wanted: set[str] = set()
    problems: list[Violation] = []
    allowed = ", ".join([*(f"{name} ({number})" for name, number in available.items()), ALL])
    by_number = {str(number): name for name, number in available.items()}
    for word in words(value) or ("",):
        if word == ALL:
            wanted.update(available)
        elif (name := by_number.get(word, word)) in available:
            wanted.add(name)
        else:
            problems.append(
                Violation(
                    "--data", "phase", repr(word), f"one of {allowed}", closest(word, [*available, ALL])
                )
            )
    if problems:
        raise DeclarationError(problems)
    return tuple(name for name in available if name in wanted)


def words(value: object) -> tuple[str, ...]:
    """Words of a list, or of a text with commas between them, as both can be given with --data."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(word for item in items for word in (part.strip() for part in str(item).split(",")) if word)

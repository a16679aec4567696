"""docs/requirements.md: every citation finds its section, and decisions.md answers what the page says it answers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.unit.paths import CHECKOUT

# "requirements 4.4", also at the beginning of a sentence, and lists: "requirements 4.2, 7.1 and 12".
NUMBER = r"\d+(?:\.\d+)*"
CITATION = re.compile(rf"\b[Rr]equirements ({NUMBER}(?:(?:, | and | to ){NUMBER})*)")
HEADING = re.compile(rf"^#+ ({NUMBER}) ", re.MULTILINE)
DECISION = re.compile(rf"^\*\*({NUMBER}(?:(?:, | and ){NUMBER})*)", re.MULTILINE)
ELSEWHERE = "*Built differently.*"


def numbers(found: list[str]) -> set[str]:
    return {number for one in found for number in re.findall(NUMBER, one)}


def page(name: str) -> str:
    return (CHECKOUT / "docs" / name).read_text(encoding="utf-8")


def sections() -> set[str]:
    return set(HEADING.findall(page("requirements.md")))


def unknown(text: str) -> set[str]:
    """Cited sections that the page does not have."""
    return numbers(CITATION.findall(text)) - sections()


def tracked() -> Iterator[str]:
    listed = subprocess.run(
        ["git", "grep", "-lIi", "requirements [0-9]"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    yield from listed.stdout.splitlines()


@pytest.mark.parametrize(
    "text", ["(requirements 4.44)", "Requirements 14", "(requirements 4.2, 4.9 and 7.1)"]
)
def test_a_section_that_does_not_exist_is_found(text: str) -> None:
    assert len(unknown(text)) == 1


def test_every_cited_section_exists() -> None:
    files = [name for name in tracked() if name != "tests/unit/test_requirements.py"]
    assert len(files) > 60
    wrong = {name: unknown((CHECKOUT / name).read_text(encoding="utf-8")) for name in files}
    assert not {name: missing for name, missing in wrong.items() if missing}


def test_sections_built_differently_are_those_with_a_decision() -> None:
    parts = HEADING.split(page("requirements.md"))[1:]
    marked = {number for number, text in zip(parts[::2], parts[1::2], strict=True) if ELSEWHERE in text}
    assert marked == numbers(DECISION.findall(page("decisions.md")))

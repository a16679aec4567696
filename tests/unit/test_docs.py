"""The pages for people: what they link to is there, and what they have somebody type exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from blueprint.keys import KEYS
from tests.unit.paths import CHECKOUT

PAGES = [
    CHECKOUT / "README.md",
    *(CHECKOUT / "docs").rglob("*.md"),
    *(CHECKOUT / "lab").rglob("README.md"),
]


def named(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


def anchors(page: Path) -> set[str]:
    """What a heading is called in an address, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_is_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(
        re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    assert set(re.findall(r"--data '?([a-z_]+)=", text)) <= KEYS.keys()


def test_make_deploy_is_for_the_lab_whatever_the_shell_is_set_to() -> None:
    asked = ["make", "--print-data-base", "--dry-run", "deploy"]
    said = subprocess.run(asked, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert "\ndeploy: SOURCEFAST_ENV := lab\n" in said

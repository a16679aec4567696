"""The pages for people: what they link to is there, and what they have somebody type exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from blueprint.keys import KEYS
from tests.unit.paths import CHECKOUT, DECLARATIONS

CONTRIBUTING = CHECKOUT / "CONTRIBUTING.md"
PAGES = [
    CHECKOUT / "README.md",
    CONTRIBUTING,
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
    output = subprocess.run(asked, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert "\ndeploy: SOURCEFAST_ENV := lab\n" in output


EXCERPTS = re.findall(
    r"^```python\n# (\S+)\n(.*?)^```$", CONTRIBUTING.read_text(encoding="utf-8"), re.M | re.S
)


@pytest.mark.parametrize(("file", "excerpt"), EXCERPTS, ids=[file for file, _ in EXCERPTS])
def test_every_excerpt_is_in_its_file(file: str, excerpt: str) -> None:
    """A line of "…" stands for lines that are left out. Production's values may change, so the tests' are shown."""
    folder, _, name = file.partition("/")
    text = (DECLARATIONS / name if folder == "group_data" else CHECKOUT / file).read_text(encoding="utf-8")
    for part in excerpt.split("…\n"):
        assert part in text, f"CONTRIBUTING.md shows what {file} does not have"


def test_every_file_that_is_named_exists() -> None:
    named_files = re.findall(
        r"`((?:[a-z_]+/)+[\w.-]*)`",
        CONTRIBUTING.read_text(encoding="utf-8") + PAGES[0].read_text(encoding="utf-8"),
    )
    assert len(named_files) > 30
    assert not [
        name for name in named_files if not name.startswith("secrets/") and not (CHECKOUT / name).exists()
    ]


MESSAGES = re.findall(
    r"^\| (`+) ?([^`].*?) ?\1 \| `([\w./-]+)` \|",
    (CHECKOUT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@pytest.mark.parametrize(("message", "file"), [(text, file) for _, text, file in MESSAGES])
def test_every_message_is_one_of_its_file(message: str, file: str) -> None:
    """A message may stand on several lines of Python."""
    text = (CHECKOUT / file).read_text(encoding="utf-8")
    joined = re.sub(r'"\s*\n\s*f?"', "", text).replace("\\'", "'").replace('\\"', '"')
    for part in message.split("…"):
        assert part in joined, f"docs/troubleshooting.md quotes what {file} does not say"


def test_the_messages_are_found() -> None:
    assert len(MESSAGES) > 60

"""What is generated from production's declarations is as they are: `make regenerate` writes it."""

from __future__ import annotations

from lab.images import tags
from phases import pages

REMEDY = "make regenerate writes it"


def test_the_pages_are_those_of_the_declarations() -> None:
    texts = pages.pages()
    written = {path.name: path.read_text(encoding="utf-8") for path in pages.FOLDER.glob("*.md")}
    assert written.keys() == texts.keys(), REMEDY
    for name, text in texts.items():
        assert written[name] == text, f"docs/phases/{name} is not what is declared: {REMEDY}"


def test_the_lab_offers_the_declared_tags() -> None:
    for file, text in tags.retagged().items():
        assert file.read_text(encoding="utf-8") == text, f"{file} has other tags than are declared: {REMEDY}"

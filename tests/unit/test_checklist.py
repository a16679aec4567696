"""The checklist of the requirements: a test proves every line, or it says whose work it is and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import checklist
from tests.checklist import HUMAN, OWNERS_CODE, Proof


def test_the_lines_are_the_requirements() -> None:
    numbers = [(section.title.partition(" —")[0], len(section.lines)) for section in checklist.CHECKLIST]
    assert numbers == [
        ("Phase 0", 8),
        ("Phase 1", 7),
        ("Phase 2", 10),
        ("Phase 3", 4),
        ("Phase 4", 6),
        ("Phase 5", 5),
        ("Phase 6", 7),
        ("Fichiers a Creer/Modifier", 13),
        ("Verification Finale", 6),
    ]


def test_whose_line_it_is_has_its_reason() -> None:
    for line in checklist.lines().values():
        assert line.kind in ("", HUMAN, OWNERS_CODE)
        assert bool(line.kind) == bool(line.reason), line.id


def test_every_line_has_a_test_or_says_whose_it_is() -> None:
    assert list(checklist.problems(checklist.proofs())) == []


def test_the_page_is_that_of_the_markers() -> None:
    written = checklist.PAGE.read_text(encoding="utf-8")
    assert written == checklist.page(list(checklist.proofs())), "make checklist writes it"


def test_no_marker_is_overlooked() -> None:
    found = [path for folder in checklist.FOLDERS for path in (checklist.ROOT / folder).rglob("*.py")]
    files = [path for path in found if path not in (Path(__file__), Path(checklist.__file__))]
    written = sum(path.read_text(encoding="utf-8").count("mark.checklist") for path in files)
    assert written == len(list(checklist.proofs()))


def proofs_of(folder: Path, source: str) -> list[Proof]:
    """Proofs of one file of tests."""
    tests = folder / "tests"
    tests.mkdir()
    (tests / "test_one.py").write_text(source)
    return list(checklist.proofs(folder))


def test_markers_are_read_without_running_anything(tmp_path: Path) -> None:
    found = proofs_of(
        tmp_path,
        "import nothing_that_exists\n"
        "@pytest.mark.parametrize('a', [1])\n"
        "@pytest.mark.checklist('0.5', '0.6')\n"
        "def test_one(a): ...\n"
        "@pytest.mark.checklist('1.1')\n"
        "class TestMore:\n"
        "    @pytest.mark.checklist('1.2')\n"
        "    def test_two(self): ...\n"
        "def test_three(): ...\n",
    )
    assert found == [
        Proof("tests/test_one.py", "test_one", ("0.5", "0.6")),
        Proof("tests/test_one.py", "TestMore", ("1.1",)),
        Proof("tests/test_one.py", "test_two", ("1.2",)),
    ]


def test_a_marker_of_no_line_and_one_of_a_persons_work_are_problems(tmp_path: Path) -> None:
    found = proofs_of(tmp_path, "@pytest.mark.checklist('9.9', '0.1')\ndef test_one(): ...\n")
    problems = list(checklist.problems(found))
    assert "tests/test_one.py: test_one proves '9.9', which is no line of the checklist" in problems
    assert "tests/test_one.py: test_one proves 0.1, which is human" in problems


def test_a_line_without_a_test_is_a_problem() -> None:
    problems = list(checklist.problems([]))
    unproved = [line for line in checklist.lines().values() if not line.kind]
    assert len(problems) == len(unproved)
    assert problems[0].startswith("0.2 (Backup complet")
    everything = Proof("tests/test_one.py", "test_one", tuple(line.id for line in unproved))
    assert list(checklist.problems([everything])) == []


def test_the_page_has_the_proof_of_a_line() -> None:
    works = Proof("tests/host/test_x.py", "test_it_works", ("0.5", "1.1"))
    text = checklist.page([works, Proof("tests/host/test_x.py", "TestComingBack", ("0.5",))])
    assert "[host/test_x.py](../tests/host/test_x.py): it works; coming back |" in text
    assert (
        "| 0.1 | Acheter i7-9700K (~90 EUR occasion) + DDR4 16 Go (~30 EUR) | *human*: a purchase |" in text
    )
    assert "it works<br>*built*: rendered from `gateway` |" in text


def test_the_writer_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checklist, "PAGE", tmp_path / "checklist.md")
    monkeypatch.setattr(checklist, "proofs", lambda: iter([Proof("tests/test_one.py", "test_one", ("9.9",))]))
    assert checklist.main() == 1
    assert "proves '9.9', which is no line" in capsys.readouterr().err
    assert (tmp_path / "checklist.md").read_text().startswith("# The checklist of the requirements")


@pytest.mark.parametrize("proof", list(checklist.proofs()), ids=lambda proof: proof.name)
def test_every_marker_is_of_a_line(proof: Proof) -> None:
    assert set(proof.lines) <= {line.id for line in checklist.lines().values() if not line.kind}

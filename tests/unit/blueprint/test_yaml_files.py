"""YAML that people write: what it may do to a run, and what its messages may show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from blueprint import DeclarationError, yaml_files

SECRET = "hunter2"  # noqa: S105 - made up
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, this in zip("abcdefgh", "bcdefghi", strict=True)
)


def refused(content: str | bytes, text_only: bool = False) -> str:
    with pytest.raises(DeclarationError) as error:
        parsed(content, text_only)
    (problem,) = error.value.problems
    return str(problem)


def parsed(content: str | bytes, text_only: bool = False) -> dict[str, Any]:
    raw = content.encode() if isinstance(content, str) else content
    return yaml_files.parse(raw, "file.yaml", text_only=text_only)


@pytest.mark.parametrize("text_only", [True, False])
@pytest.mark.parametrize(
    ("content", "output"),
    [
        ("a: [b\n", "line 2, column 1 is no YAML (expected … or …, but got …), but must be YAML."),
        ("a:\n\tb: c\n", "line 2, column 1 is no YAML (a tab; indent with blanks), but must be YAML."),
        ("a: {}\na: {}\n", "line 2, column 1 is a key that is there twice, but must be there once."),
        ("? [a]\n: b\n", "line 1, column 3 is a key of several values, but must be text."),
        (f"a: {'[' * 5000}", "line 1, column 20 is nested too deep, but must be at most 16 levels deep."),
        ("{a: " * 5000, "is nested too deep"),
        (
            "a: !!python/object/apply:os.system [id]",
            "line 1, column 4 is a tag, but must be a value, in quotes",
        ),
        ("a: !!int x", "is a tag"),
        ("a: !!timestamp x", "is a tag"),
        (f"a: !{SECRET}", "is a tag, but must be a value, in quotes where it begins with !."),
        (f"a: @{SECRET}", "line 1, column 4 is no YAML (found character … that cannot start any token)"),
        ("a: 1\n---\na: 2\n", "line 2, column 1 is no YAML (but found another document)"),
        (b"a: \xe9\n", "the file is no text (invalid continuation byte), but must be YAML in UTF-8."),
        (b"a: \0\n", "the file is no text (special characters are not allowed), but must be YAML in UTF-8."),
        ("- a\n", "the file is a list, but must be a mapping of keys to values."),
        (SECRET, "the file is text, but must be a mapping of keys to values."),
    ],
)
def test_what_is_refused_is_one_sentence_that_quotes_nothing(
    content: str | bytes, output: str, text_only: bool
) -> None:
    message = refused(content, text_only)
    assert message.startswith("file.yaml: ")
    assert output in message
    assert SECRET not in message


@pytest.mark.parametrize("content", [BOMB, "a: &a\n  b: *a\n", "a: &a [*a]\n", "a: &a {b: c}\nd: {<<: *a}\n"])
def test_no_alias_multiplies_or_loops(content: str) -> None:
    assert "is an alias of a list or mapping, but must be that written out." in refused(content)
    assert "is an anchor or alias" in refused(content, text_only=True)


def test_an_alias_of_one_value_is_followed() -> None:
    assert parsed("a: &a x\nb: *a\n") == {"a": "x", "b": "x"}


@pytest.mark.parametrize("name", [f"*{SECRET}", f"&{SECRET} more"])
def test_a_secret_that_looks_like_an_alias_is_no_other_secret(name: str) -> None:
    message = refused(f"a: {name}\n", text_only=True)
    assert message == (
        "file.yaml: line 1, column 4 is an anchor or alias, but must be a value, in quotes where it begins with & or *."
    )


@pytest.mark.parametrize("content", ["", "\n", "# nothing yet\n", "---\n", "~\n"])
def test_an_empty_file_is_an_empty_mapping(content: str) -> None:
    assert parsed(content) == {}


@pytest.mark.parametrize("content", ["\ufeffa: é\n", "a: é\n".encode("utf-16")])
def test_how_an_editor_marks_unicode_does_not_matter(content: str | bytes) -> None:
    assert parsed(content) == {"a": "é"}


SCALARS = [
    "0123456", "0x1F", "1_000", "12:30:45", "2020-01-01", "2020-99-99", "1.5", "1e3", ".inf", "+1", "9" * 5000, "="
]  # fmt: skip


@pytest.mark.parametrize("scalar", SCALARS)
def test_what_yaml_would_make_of_a_value_stays_as_it_is_written(scalar: str) -> None:
    assert parsed(f"a: {scalar}") == parsed(f"a: {scalar}", text_only=True) == {"a": scalar}


@pytest.mark.parametrize(
    ("scalar", "value"), [("22", 22), ("-5", -5), ("0", 0), ("true", True), ("no", False), ("Off", False)]
)
def test_numbers_and_truth_values_are_text_among_secrets_only(scalar: str, value: object) -> None:
    assert parsed(f"a: {scalar}") == {"a": value}
    assert parsed(f"a: {scalar}", text_only=True) == {"a": scalar}


@pytest.mark.parametrize("scalar", ["", "~", "null"])
def test_nothing_is_nothing(scalar: str) -> None:
    assert parsed(f"a: {scalar}") == parsed(f"a: {scalar}", text_only=True) == {"a": None}


def test_keys_are_text() -> None:
    assert parsed("1: {true: a, null: b, 2020-99-99: c}") == {
        "1": {"true": "a", "null": "b", "2020-99-99": "c"}
    }


def unreadable(path: Path) -> str:
    with pytest.raises(DeclarationError) as error:
        yaml_files.read(path, "file")
    return str(error.value)


def test_what_is_no_file_does_not_hang_a_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("pipe", "zeros"):
        assert unreadable(tmp_path / name) == "file: the file is no regular file, but must be a regular file."
    assert "is unreadable (Is a directory)" in unreadable(tmp_path)


def test_a_large_file(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"#" * 300 * 1024)
    assert unreadable(tmp_path / "large") == "file: the file is of 300 KiB, but must be of at most 256 KiB."


def test_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a: b\n")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("/nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert yaml_files.read(tmp_path / "link", "file") == b"a: b\n"
    assert "is a link to a file that does not exist" in unreadable(tmp_path / "dangling")
    assert "is unreadable (Too many levels of symbolic links)" in unreadable(tmp_path / "loop")
    with pytest.raises(FileNotFoundError):
        yaml_files.read(tmp_path / "none", "file")


def test_a_user_that_is_unknown_has_no_home() -> None:
    assert yaml_files.expanded("~nouser/key") == Path("~nouser/key")
    assert yaml_files.expanded("~/key") == Path.home() / "key"

"""What a failing check reports."""

from __future__ import annotations

import pytest

from checks.expect import expect


def output(found: object, expected: object) -> str:
    with pytest.raises(pytest.fail.Exception) as failed:
        expect("container web", found, expected, "run again")
    return str(failed.value)


def test_what_is_as_expected_is_no_failure() -> None:
    expect("container web", {"a": 1}, {"a": 1}, "run again")


def test_a_failure_says_what_was_found_what_was_expected_and_how_to_fix_it() -> None:
    assert output("exited", "running").splitlines() == [
        "container web",
        "    found:    exited",
        "    expected: running",
        "    fix:      run again",
    ]


def test_of_mappings_only_what_differs_is_shown() -> None:
    text = output({"memory": 1, "cpus": 2, "extra": 3}, {"memory": 1, "cpus": 4, "pids": 5})
    assert "memory" not in text
    for line in ("cpus: 2", "pids: missing", "extra: 3", "cpus: 4", "pids: 5", "extra: missing"):
        assert line in text


def test_of_sets_it_says_what_is_too_many_and_what_is_missing() -> None:
    text = output({1, 2}, {2, 3})
    assert "too many: 1" in text and "missing: 3" in text

"""Copying databases: what is still to be done, and what stands in its way."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError, OperationValueError

from facts.postgres_copy import CopyState, DatabaseSummary, PostgresCopy, read_copy
from operations import postgres_copy
from operations.postgres_copy import Copy, difference, others
from tests.unit.hosts import commands

GIB = 1024**3
OLD = DatabaseSummary("shop", bytes=1000, objects=3, extensions=("plpgsql", "vector"))


def state(**changes: Any) -> CopyState:
    """Both servers run; the old one has a database, the new one its role and nothing else."""
    plain: dict[str, Any] = {
        "free": GIB,
        "status": "running",
        "source": {"shop": OLD},
        "target": {},
        "roles": frozenset({"shop"}),
        "available": frozenset({"plpgsql", "vector"}),
    }
    return CopyState(**{**plain, **changes})


def run(found: CopyState, *copies: Copy, leave: tuple[str, ...] = ()) -> list[Any]:
    desired = copies or (Copy("shop", "shop"),)
    return commands(postgres_copy.copied, {PostgresCopy: found}, "old", "new", desired, "/state", leave)


def refused(found: CopyState, *copies: Copy) -> str:
    with pytest.raises(OperationError) as error:
        run(found, *copies)
    return str(error.value)


def test_each_database_is_copied_by_a_command_of_its_own() -> None:
    first, second, last = run(
        state(source={"shop": OLD, "blog": DatabaseSummary("blog", objects=1)}),
        Copy("shop", "shop"),
        Copy("blog", "shop", after="SELECT 1;"),
    )
    assert first.get_raw_value().endswith("migration/postgres-copy.sh /state old shop new shop yes")
    assert second.payload == "SELECT 1;"
    assert last.get_raw_value().endswith("migration/complete.sh /state old")


def test_what_is_recorded_is_not_copied_again() -> None:
    done = state(source={"shop": replace(OLD, frozen=True)}, recorded=frozenset({"shop"}))
    assert len(run(done)) == 1  # which only says that all are
    assert run(replace(done, complete=True)) == []


@pytest.mark.parametrize("complete", [False, True])
def test_what_somebody_has_gone_back_to_is_not_taken_for_copied(complete: bool) -> None:
    text = refused(state(recorded=frozenset({"shop"}), complete=complete))
    assert "old: database shop" in text
    assert "copied before, and it takes writes again" in text


def test_a_stopped_source_that_is_complete_is_not_asked_for_what_it_need_not_have() -> None:
    stopped = state(status="exited", source=None, recorded=frozenset({"shop"}), complete=True)
    assert run(stopped, Copy("shop", "shop"), Copy("blog", "shop", required=False)) == []


def test_no_container_is_nothing_to_copy() -> None:
    assert run(CopyState()) == []


def test_a_stopped_one_is_asked_by_the_command_itself() -> None:
    assert len(run(state(status="exited", source=None))) == 2


def test_content_of_its_own_is_not_overwritten() -> None:
    text = refused(state(target={"shop": DatabaseSummary("shop", objects=1)}))
    assert "new: database shop" in text
    assert "1 tables, indexes and the like that are not a copy of old/shop" in text


@pytest.mark.parametrize(
    "existing", [DatabaseSummary("shop"), DatabaseSummary("shop", objects=3, copied_from="old/shop")]
)
def test_an_empty_database_gives_way_and_an_unrecorded_copy_is_gone_on_with(
    existing: DatabaseSummary,
) -> None:
    assert len(run(state(target={"shop": existing}))) == 2


def test_all_problems_are_in_one_report() -> None:
    old = DatabaseSummary("shop", encoding="LATIN1", bytes=GIB, extensions=("timescaledb",), objects=1)
    text = refused(state(source={"shop": old}, free=GIB // 2, roles=frozenset()))
    assert "4 problems" in text
    for word in ("LATIN1", "timescaledb", "role shop", "512 MiB free"):
        assert word in text


def test_a_database_that_must_be_there_and_is_not() -> None:
    assert "not there; there are: shop" in refused(state(), Copy("blog", "shop"))
    assert len(run(state(source={}), Copy("blog", "shop", required=False))) == 1


def test_what_nobody_mentions_is_not_left_behind_silently() -> None:
    found = state(
        source={
            "shop": OLD,
            "crm": DatabaseSummary("crm", objects=7),
            "postgres": DatabaseSummary("postgres"),
        }
    )
    assert [other.name for other in others([Copy("shop", "shop")], [], found)] == ["crm"]
    assert "old: database crm" in refused(found)
    assert len(run(found, leave=("crm",))) == 2


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "x" * 51])
def test_names_that_cannot_be_files(name: str) -> None:
    with pytest.raises(OperationValueError):
        Copy(name, "shop")


def test_difference_keeps_the_order() -> None:
    copies = [Copy("b", "x"), Copy("a", "x")]
    assert difference(copies, CopyState()) == copies


def test_the_answer_of_the_host() -> None:
    database = {"name": "shop", "encoding": "UTF8", "bytes": 5, "objects": 2, "extensions": ["vector"]}
    output = json.dumps({**database, "copied_from": None})
    found = read_copy(
        [
            *("@@recorded", "blog", "@@free", " 4096", "@@source", "running", "@@source databases", output),
            *("@@target databases", "@@target roles", "shop", "@@target extensions", "vector"),
        ]
    )
    assert found == CopyState(
        recorded=frozenset({"blog"}),
        free=4096,
        status="running",
        source={"shop": DatabaseSummary("shop", bytes=5, objects=2, extensions=("vector",))},
        target={},
        roles=frozenset({"shop"}),
        available=frozenset({"vector"}),
    )
    assert read_copy(["@@recorded", "@@free", "1", "@@source"]) == CopyState(free=1)

"""Every file that phase `hardware` puts on a host, whole, as tests/unit/fixtures/hardware-files.txt has it.

After a change that is meant: `GOLDEN=write pytest tests/unit/phases/test_hardware_files.py`, and read the difference.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blueprint import Blueprint, Secrets
from blueprint.phases import HARDWARE
from operations import files, systemd
from operations import gpu as gpu_operations
from operations.systemd import Unit
from phases import record
from phases.hardware.base import SCRIPTS
from phases.hardware.base import entries as base_entries
from phases.hardware.nvidia import POWER_LIMITS, power_limits
from phases.hardware.ollama import entries as ollama_entries
from phases.hardware.ollama import placements as ollama_placements
from phases.hardware.upkeep import entries as upkeep_entries
from phases.hardware.whisper import unit as whisper_unit
from phases.jobs import FILES
from specs.files import Absent, Directory, Entry, File, Link
from tests.unit.declared import declared
from tests.unit.hosts import scripted_host
from tests.unit.machines import UUIDS
from tests.unit.paths import FIXTURES

GOLDEN = FIXTURES / "hardware-files.txt"
LIMITED = "GPU-85c38fae"


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    (tmp_path / "production.yaml").write_text('telegram: {token: "12:canary", chat: "34"}\n')
    (tmp_path / "production.yaml").chmod(0o600)
    return Secrets.open("production", tmp_path, {})


def everything(blueprint: Blueprint, secrets: Secrets) -> list[Entry]:
    """All entries, in the order of the phase."""
    with scripted_host({}):
        return [
            *base_entries(blueprint),
            *ollama_entries(blueprint, UUIDS),
            whisper_unit(blueprint, UUIDS),
            *upkeep_entries(blueprint, secrets, UUIDS),
        ]


def shown(entry: Entry) -> str:
    """An entry as the golden file has it. Scripts are files of this repository already."""
    if isinstance(entry, Directory):
        return f"=== {entry.path}/ {entry.mode} {entry.owner}:{entry.group}\n"
    if isinstance(entry, Link):
        return f"=== {entry.path} -> {entry.target}\n"
    if isinstance(entry, Absent):
        return f"=== {entry.path} absent\n"
    secret = " secret" if entry.secret else ""
    title = f"=== {entry.path} {entry.mode} {entry.owner}:{entry.group}{secret}\n"
    name = Path(entry.path).name
    sources = {Path(script).name: FILES / script for script in (*SCRIPTS, "ollama/filter.js")}
    if name in sources:
        assert entry.content == sources[name].read_text()
        return f"{title}(files/{sources[name].relative_to(FILES)})\n"
    assert isinstance(entry.content, str)
    return title + entry.content


@pytest.mark.checklist("F.12")
def test_every_file_whole(secrets: Secrets) -> None:
    text = "".join(map(shown, everything(declared(), secrets)))
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_no_path_twice(secrets: Secrets) -> None:
    paths = [entry.path for entry in everything(declared(), secrets) if isinstance(entry, File)]
    assert sorted(set(paths)) == sorted(paths)


def test_a_secret_is_in_no_file_that_others_may_read(secrets: Secrets) -> None:
    with_it = [
        entry
        for entry in everything(declared(), secrets)
        if isinstance(entry, File) and "canary" in str(entry.content)
    ]
    assert [(entry.path, entry.mode, entry.secret) for entry in with_it] == [
        ("/etc/sourcefast/telegram.ini", "0600", True)
    ]


def test_cron_runs_scripts_that_are_there(secrets: Secrets) -> None:
    entries = everything(declared(), secrets)
    paths = {entry.path for entry in entries}
    jobs = [entry for entry in entries if entry.path.startswith("/etc/cron.d/")]
    ours = [job for job in declared().cron_jobs if job.phase == HARDWARE]
    assert len(jobs) == len(ours)
    for job in ours:
        assert f"/opt/scripts/{job.script}" in paths


@pytest.mark.checklist("0.6", "F.12")
def test_another_profile_changes_what_it_must(secrets: Secrets) -> None:
    before = {entry.path: entry for entry in everything(declared(), secrets)}
    after = {entry.path: entry for entry in everything(declared("i7_9700k"), secrets)}
    assert before.keys() == after.keys()
    assert [path for path in before if before[path] != after[path]] == [
        "/etc/ollama/heavy.env",
        "/etc/ollama/light.env",
        "/etc/ollama/filter/nginx.conf",
    ]


# --- operations whose arguments are made from the data


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The operations that a phase asks for, with their arguments, instead of running them."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def stand_in(name: str) -> Callable[..., None]:
        def note(**arguments: Any) -> None:
            if name == "with_cards":
                arguments["step"](UUIDS)
            else:
                calls.append((name, arguments))

        note._inner = note  # type: ignore[attr-defined]
        return note

    monkeypatch.setattr(files, "tree", stand_in("tree"))
    monkeypatch.setattr(systemd, "units", stand_in("units"))
    monkeypatch.setattr(gpu_operations, "power_limits", stand_in("power_limits"))
    monkeypatch.setattr(sys.modules["phases.hardware.nvidia"], "with_cards", stand_in("with_cards"))
    return calls


def contents(entries: Iterable[Entry]) -> dict[str, object]:
    return {entry.path: entry.content for entry in entries if isinstance(entry, File)}


def with_limit(watts: int | None) -> Blueprint:
    first, *others = declared().gpus
    assert first.uuid == LIMITED
    return declared(gpus=[replace(first, power_limit_w=watts), *others])


def test_power_limits_at_once_and_at_every_boot(asked: list[tuple[str, dict[str, Any]]]) -> None:
    power_limits(with_limit(180))
    (tree, put), (units, up), (operation, limits) = asked
    assert (tree, units, operation) == ("tree", "units", "power_limits")
    written = contents(put["entries"])
    assert written["/etc/sourcefast/gpu-power-limits"] == f"{UUIDS[LIMITED]} 180\n"
    unit = str(written["/etc/systemd/system/gpu-power-limits.service"])
    assert "ExecStart=/opt/scripts/gpu-power-limits.sh /etc/sourcefast/gpu-power-limits\n" in unit
    # Other limits are reloaded: a restart would lift those that stay for a moment.
    assert up["units"] == [Unit(POWER_LIMITS, reload_on=("/etc/sourcefast/gpu-power-limits",))]
    assert limits["limits"] == {LIMITED: 180}


def test_without_power_limits_nothing_of_them_is_left(asked: list[tuple[str, dict[str, Any]]]) -> None:
    power_limits(with_limit(None))
    (units, down), (tree, gone) = asked
    # First stopped, which lifts the limits; only then removed.
    assert (units, tree) == ("units", "tree")
    assert down["units"] == [Unit(POWER_LIMITS, enabled=False, running=False)]
    assert gone["entries"] == [
        Absent("/etc/systemd/system/gpu-power-limits.service"),
        Absent("/etc/sourcefast/gpu-power-limits"),
    ]


def test_a_phase_is_recorded(asked: list[tuple[str, dict[str, Sequence[Entry]]]]) -> None:
    record.record("hardware", declared())
    ((operation, put),) = asked
    assert operation == "tree"
    assert put["entries"] == [
        Directory("/var/lib/sourcefast/phases", mode="0700"),
        File("/var/lib/sourcefast/phases/hardware", "complete\n"),
    ]


def test_each_model_is_to_be_on_its_card() -> None:
    placements = ollama_placements(declared(), UUIDS)
    assert {(one.instance, one.port, one.model, one.gpu) for one in placements} == {
        ("heavy", 11434, "qwen3:8b", UUIDS["GPU-bdb1f5e4"]),
        ("light", 11435, "qwen3:4b", UUIDS["GPU-85c38fae"]),
        ("twitch", 11437, "llama3.1:8b", UUIDS["GPU-d4fb9c68"]),
    }

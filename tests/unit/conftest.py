"""Fixtures that several files share."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from blueprint import group_data
from operations import checks
from tests.unit.bench import Bench
from tests.unit.paths import CHECKOUT, DECLARATIONS


@pytest.fixture(autouse=True)
def own_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads group_data/ reads the declarations of the tests: an edit of production's changes no test of these."""
    monkeypatch.setattr(group_data, "FOLDER", DECLARATIONS)


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No check waits for real; gives the seconds that it would have waited, one wait after the other."""
    waits: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(waits), sleep=waits.append)
    monkeypatch.setattr(checks, "time", clock)
    return waits


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Fake programs, and scripts of the host that find them on their PATH."""
    return Bench(tmp_path)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what pyinfra reads, with the declarations of the tests, and a lab that cannot be reached.

    Bytecode is copied as well: else each run of pyinfra would compile everything.
    """
    folders = ("blueprint", "operations", "facts", "specs", "phases", "templates", "files")
    read = [CHECKOUT / name for name in (*folders, "inventory.py", "config.py")]
    # In a fraction of the time of shutil; the times stay, for the bytecode.
    subprocess.run(["cp", "-a", *read, tmp_path], check=True)
    shutil.copytree(DECLARATIONS, tmp_path / "group_data")
    (tmp_path / "deploy.py").write_text("")
    lab = tmp_path / ".lab"
    lab.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", lab / "id_ed25519"], check=True)
    (lab / "known_hosts").touch()
    (lab / "lab.json").write_text(
        json.dumps(
            {
                "address": "127.0.0.1",
                "port": 1,
                "user": "root",
                "key": ".lab/id_ed25519",
                "known_hosts": ".lab/known_hosts",
            }
        )
    )
    return tmp_path

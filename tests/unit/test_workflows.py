"""What the workflows of GitHub run: targets of the Makefile, .github/production.sh and .github/drift.py."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blueprint import environment
from tests.unit.paths import CHECKOUT

PRODUCTION = """\
hosts:
  sourcefast:
    address: 203.0.113.7
    key: .production/ssh_key
    known_hosts: .production/known_hosts
"""


def test_every_target_is_one() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (CHECKOUT / ".github/workflows").iterdir())
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"run: make ([a-z-]+)$", text, re.MULTILINE))
    assert targets >= {"lint", "unit", "check-host", "test"}
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """What docs/ci.md has the owner set, and the folder on his runner."""
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "production.yaml.age").touch()
    return {
        "PATH": "/usr/bin:/bin",
        "PRODUCTION_YAML": PRODUCTION,
        "KNOWN_HOSTS": "203.0.113.7 ssh-ed25519 AAAA",
        "SSH_KEY": "private-1",
        "AGE_IDENTITY": "private-2",
        "SECRETS_FOLDER": str(folder),
    }


def placed(checkout: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (checkout / ".github").mkdir()
    script = shutil.copy(CHECKOUT / ".github/production.sh", checkout / ".github")
    return subprocess.run([script], env=variables, capture_output=True, text=True, check=False, timeout=30)


def test_only_the_runner_reads_what_is_put_in_place(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = placed(tmp_path, variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    files = [tmp_path / "production.yaml", *sorted((tmp_path / ".production").iterdir())]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / ".production").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "secrets/production.yaml.age").is_file()
    monkeypatch.chdir(tmp_path)
    (host,) = environment.hosts("production", ("gpu",), tmp_path)
    assert Path(host.key or "").read_text() == "private-1\n"
    assert Path(host.known_hosts).read_text() == "203.0.113.7 ssh-ed25519 AAAA\n"


def test_a_jump_host_is_reached_by_a_configuration_of_openssh(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = f"{PRODUCTION}    ssh_config: .production/ssh_config\n"
    assert placed(tmp_path, {**variables, "PRODUCTION_YAML": host, "SSH_CONFIG": "Host x"}).returncode == 0
    monkeypatch.chdir(tmp_path)
    (entry,) = environment.hosts("production", ("gpu",), tmp_path)
    assert Path(entry.ssh_config or "").read_text() == "Host x\n"
    assert (tmp_path / ".production/ssh_config").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name", ["PRODUCTION_YAML", "KNOWN_HOSTS", "SSH_KEY", "AGE_IDENTITY", "SECRETS_FOLDER"]
)
def test_a_variable_that_is_missing_is_named(tmp_path: Path, variables: dict[str, str], name: str) -> None:
    done = placed(tmp_path, variables | {name: ""})
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: not set")
    assert "private" not in done.stderr
    assert not (tmp_path / ".production").exists()


def test_a_runner_without_the_secrets_is_refused(tmp_path: Path, variables: dict[str, str]) -> None:
    done = placed(tmp_path, variables | {"SECRETS_FOLDER": str(tmp_path)})
    assert done.returncode == 1
    assert "production.yaml.age" in done.stderr
    assert not (tmp_path / ".production").exists()


@pytest.mark.parametrize(
    ("changing", "status", "printed"),
    [(["a"], 1, "- Phase 0: hardware | SSH\n"), ([], 0, "No step would change anything.\n")],
)
def test_a_step_that_would_change_something_is_drift(
    tmp_path: Path, changing: list[str], status: int, printed: str
) -> None:
    steps = [
        {"name": "Phase 0: hardware | SSH", "hosts_with_change": changing},
        {"name": "Phase 0: hardware | Firewall", "hosts_with_change": []},
    ]
    plan = tmp_path / "plan"
    plan.write_text(json.dumps({"plan": steps, "results": None}))
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / ".github/drift.py"), str(plan)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (status, printed)

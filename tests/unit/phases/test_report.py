"""What a person sees of a run: signs of life, and the report at its end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.unit.hosts import command_line
from tests.unit.paths import CHECKOUT

INVENTORY = """
fast = {"fake_delay": 0, "fake_delay_jitter": 0}
with_next_step = {**fast, "report_login": "ssh one", "report_next_step": "look at it"}
servers = [("@fake/one", with_next_step), ("@fake/two", fast)]
"""
DEPLOY = """
import gevent
from pyinfra.api.command import FunctionCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import host, state
from phases import report

report.HEARTBEAT_S = 0.2

@operation()
def step(seconds=0.0, outcome=None):
    if outcome == "refused":
        raise OperationError("found x, expected y")
    if outcome == "same":
        host.noop("nothing to do")
        return
    yield FunctionCommand(work, (seconds, outcome), {})

def work(state, host, seconds, outcome):
    gevent.sleep(seconds)
    return outcome != "failed"

@deploy("Phase 0: hardware")
def phase():
    STEPS

following = report.Report.follow(state)
following.running(host, [f"service of {host.name}"])
following.warnings(host, [f"memory of {host.name} is near its limit"])
if host.name == "@fake/two":
    following.next(host, "deploy the next phase")
phase()
"""


def run(folder: Path, steps: str, *options: str) -> tuple[int, list[str]]:
    """Status, and the lines that were printed, times taken out."""
    (folder / "inventory.py").write_text(INVENTORY)
    body = textwrap.indent(textwrap.dedent(steps).strip(), "    ").strip()
    (folder / "deploy.py").write_text(DEPLOY.replace("STEPS", body))
    done = command_line(
        *("-y", "inventory.py", "deploy.py", *options),
        folder=folder,
        environment={"PYTHONPATH": str(CHECKOUT), "LC_ALL": "C.UTF-8"},
    )
    assert "Traceback" not in done.stdout
    return done.returncode, [re.sub(r"\d+\.\d+ s", "T s", line.strip()) for line in done.stdout.splitlines()]


def report(lines: list[str], host: str) -> list[str]:
    """A host's part of the report."""
    part = lines[next(number for number, line in enumerate(lines) if line.startswith(f"{host}: ")) :]
    return part[: next((number for number, line in enumerate(part) if not line or "-->" in line), len(part))]


def test_after_a_successful_run(tmp_path: Path) -> None:
    status, lines = run(
        tmp_path,
        """
        step(name="Packages", seconds=0.1)
        step(name="Units", outcome="same")
        if host.name == "@fake/one":
            step(name="Models", seconds=0.5)
        """,
    )
    assert status == 0
    assert report(lines, "@fake/one") == [
        "@fake/one: 3 steps, 2 changed something",
        "changed  Phase 0: hardware | Packages (T s)",
        "changed  Phase 0: hardware | Models (T s)",
        "slowest  Models T s, Packages T s, Units T s",
        "running  service of @fake/one",
        "warning  memory of @fake/one is near its limit",
        "login    ssh one",
        "next     look at it",
    ]
    assert report(lines, "@fake/two") == [
        "@fake/two: 2 steps, 1 changed something",
        "changed  Phase 0: hardware | Packages (T s)",
        "slowest  Packages T s, Units T s",
        "running  service of @fake/two",
        "warning  memory of @fake/two is near its limit",
        "next     deploy the next phase",
    ]
    # Signs of life of what takes long, and of nothing else.
    beats = [line for line in lines if line.startswith("…")]
    assert {line.rpartition(":")[0] for line in beats} == {"… Phase 0: hardware | Models"}
    assert lines.index(beats[-1]) < lines.index("--> Report")


def test_after_a_failure(tmp_path: Path) -> None:
    status, lines = run(tmp_path, 'step(name="Packages")\nstep(name="Units", outcome="failed")')
    assert status != 0
    assert report(lines, "@fake/one") == [
        "@fake/one: 1 step, 1 changed something",
        "changed  Phase 0: hardware | Packages (T s)",
        "slowest  Packages T s",
        "failed   Phase 0: hardware | Units",
        "warning  memory of @fake/one is near its limit",
        "login    ssh one",
        "next     fix what the messages above name, then run the same again",
    ]


def test_after_a_refusal(tmp_path: Path) -> None:
    status, lines = run(tmp_path, 'step(name="Packages")\nstep(name="Units", outcome="refused")')
    assert status != 0
    assert [line for line in lines if "found x, expected y" in line]
    assert "failed   Phase 0: hardware | Units" in lines
    assert "next     fix what the messages above name, then run the same again" in lines


def test_a_failure_of_the_first_step_has_its_report_too(tmp_path: Path) -> None:
    _, lines = run(tmp_path, 'step(name="Packages", outcome="failed")')
    assert "failed   Phase 0: hardware | Packages" in lines


STEPS = """
step(name="Packages", seconds=0.1)
step(name="Units", outcome="same")
"""


def test_the_report_is_written_as_json_too(tmp_path: Path) -> None:
    status, _ = run(tmp_path, STEPS, "--data", "report=run.json")
    assert status == 0
    reported = json.loads((tmp_path / "run.json").read_text())
    assert reported.keys() == {"ended", "seconds", "hosts"}
    assert reported["seconds"] >= 0.1
    one, two = sorted(reported["hosts"], key=lambda host: host["host"])
    assert one["changed"][0]["seconds"] >= 0.1
    for host in (one, two):
        for step in (*host["changed"], *host["slowest"]):
            step["seconds"] = "T"
    packages, units = (
        {"name": f"Phase 0: hardware | {name}", "seconds": "T"} for name in ("Packages", "Units")
    )
    assert one == {
        "host": "@fake/one",
        "steps": 2,
        "changed": [packages],
        "slowest": [packages, units],
        "failed": None,
        "running": ["service of @fake/one"],
        "warnings": ["memory of @fake/one is near its limit"],
        "login": "ssh one",
        "next": "look at it",
    }
    assert (two["host"], two["next"]) == ("@fake/two", "deploy the next phase")
    assert [path.name for path in tmp_path.glob(".run*")] == []


def test_a_failure_is_in_the_json(tmp_path: Path) -> None:
    status, _ = run(tmp_path, 'step(name="Units", outcome="failed")', "--data", "report=run.json")
    assert status != 0
    (one, _) = json.loads((tmp_path / "run.json").read_text())["hosts"]
    assert one["failed"] == "Phase 0: hardware | Units"
    assert one["next"] == "fix what the messages above name, then run the same again"
    assert one["running"] == []


def test_a_report_that_cannot_be_written_fails_no_run(tmp_path: Path) -> None:
    status, lines = run(tmp_path, STEPS, "--data", "report=nowhere/run.json")
    assert status == 0
    assert "the report could not be written to nowhere/run.json: No such file or directory" in lines


def test_pyinfras_own_json_stays_what_it_is(tmp_path: Path) -> None:
    run(tmp_path, STEPS)  # writes the files
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pyinfra",
            "-y",
            "--json",
            "inventory.py",
            "deploy.py",
            "--data",
            "report=run.json",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["results"]["totals"]["success"] == 2
    assert "--> Report" in done.stderr
    assert json.loads((tmp_path / "run.json").read_text())["hosts"]

"""`make bench`: what a run that changes nothing costs, beside its floors, all measured in one go.

- *no-op*: `pyinfra -y inventory.py deploy.py` on a provisioned machine, as a person waits for it;
- *stock transport*: the same without TCP_NODELAY;
- *one script*: every command of the no-op, word for word, in one shell script over one SSH session;
- *start*: a pyinfra run without a single operation: interpreter, imports, connection.

Once for phase hardware alone (with the monitors and the watch, where the host has them), once for what all projects
stand on, once for everything. Figures are medians; the ratios are what to compare between machines.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from blueprint.phases import ALL, HARDWARE, SHARED
from lab.backends import server
from lab.paths import CHECKOUT, lab

ROUNDS = 5
DEPLOY = ["-y", "inventory.py", "deploy.py"]
STAGES = (HARDWARE, ",".join((HARDWARE, *SHARED)), ALL)


def _pyinfra(arguments: list[str], environment: dict[str, str] | None = None) -> float:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "lab.recorded_pyinfra", *arguments],
        cwd=CHECKOUT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"pyinfra {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - started


def _one_script(commands: list[str]) -> float:
    script = "\n".join(f"( {command} ) </dev/null >/dev/null 2>&1" for command in commands)
    started = time.monotonic()
    config = lab().state / "ssh_config"
    ssh = ["ssh", "-F", str(config), "-o", "ControlMaster=no", "-o", "ControlPath=none", "lab", "bash -s"]
    subprocess.run(ssh, input=script, text=True, check=True, capture_output=True)
    return time.monotonic() - started


def main() -> None:
    """Measure and print a table for each of `STAGES`."""
    server(lab()).start()
    _pyinfra(DEPLOY)  # whatever is left to do
    with tempfile.TemporaryDirectory() as folder:
        for phases in STAGES:
            _print(phases, *_measure(phases, Path(folder)))


def _measure(phases: str, folder: Path) -> tuple[int, dict[str, list[float]]]:
    """How many SSH commands a run of these phases needs, and the seconds of each kind of run."""
    deploy = [*DEPLOY, "--data", f"phase={phases}"]
    record, empty = folder / "commands.json", folder / "empty.py"
    empty.touch()
    _pyinfra(deploy, {"RECORD_COMMANDS": str(record)})
    commands: list[str] = json.loads(record.read_text())
    rows: dict[str, list[float]] = {"no-op": [], "stock transport": [], "one script": [], "start": []}
    for _ in range(ROUNDS):  # in turns, so that a noisy minute hits all of them
        rows["no-op"].append(_pyinfra(deploy))
        rows["stock transport"].append(_pyinfra(deploy, {"STOCK_TRANSPORT": "1"}))
        rows["one script"].append(_one_script(commands))
        rows["start"].append(_pyinfra(["-y", "inventory.py", str(empty)]))
    return len(commands), rows


def _print(phases: str, commands: int, rows: dict[str, list[float]]) -> None:
    floor = statistics.median(rows["one script"])
    print(f"phase={phases}, a run that changes nothing: {commands} SSH commands, {ROUNDS} rounds")  # noqa: T201
    for name, seconds in rows.items():
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        print(f"  {name:<16} {middle:6.2f} s  ({spread})  {middle / floor:5.1f} x one script", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

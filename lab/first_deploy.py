"""`make bench-first`: the first deploy of phases litellm and monitoring, beside a bare script that does the same work.

Both begin with a machine that has phase hardware and none of their images; the registry is warm. The script pulls the
same images, builds Postgres' and starts the same, already written Compose files. What the deploy does
beyond it: render and check, settings, roles and users, teams, bucket, monitors, and a first backup of everything.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from blueprint import Blueprint, group_data
from blueprint.phases import HARDWARE, LITELLM, MONITORING, SHARED
from lab.backends import server
from lab.machine import Machine
from lab.paths import CHECKOUT, lab

IMAGE, SOURCE = "sourcefast/postgres:local", CHECKOUT / "files" / "postgres"
SCRIPT = Path(__file__).with_name("bare_deploy.sh")
SNAPSHOT = "bench-hardware"


def main() -> None:
    """Measure both on a machine beside the deployed one, which waits shut down meanwhile."""
    deployed = server(lab())
    was_running = deployed.running
    deployed.stop()
    machine = server(lab(), "bench")
    try:
        machine.reset()
        _deploy(HARDWARE)
        machine.snapshot(SNAPSHOT)
        ours = _deploy(LITELLM, MONITORING)
        payload = _payload(machine)
        machine.restore(SNAPSHOT)
        floor = _bare(machine, payload)
    finally:
        machine.scrap()
        if was_running:
            deployed.start()
    for name, seconds in (("first deploy", ours), ("bare script", floor)):
        print(f"  {name:<14} {seconds:6.1f} s  {seconds / floor:5.2f} x bare script")  # noqa: T201


def _deploy(*phases: str) -> float:
    command = [sys.executable, "-m", "pyinfra", "-y", "inventory.py", "deploy.py"]
    started = time.monotonic()
    done = subprocess.run(
        [*command, "--data", f"phase={','.join(phases)}"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the deploy of {', '.join(phases)} failed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - started


def _blueprint() -> Blueprint:
    return group_data.read().blueprint("lab")


def _stacks(blueprint: Blueprint) -> list[str]:
    return [stack.name for stack in blueprint.shared_stacks if stack.phase in SHARED]


def _payload(machine: Machine) -> bytes:
    """What the script works with, as the deploy has left it."""
    blueprint = _blueprint()
    folders = " ".join(_stacks(blueprint))
    ssh = ["ssh", "-F", str(machine.lab.state / "ssh_config"), "lab"]
    files = subprocess.run(
        [*ssh, f"tar -C {blueprint.paths.stacks} -cf - {folders}"], check=True, capture_output=True
    ).stdout
    roles = machine.run("docker exec shared-postgres pg_dumpall -U postgres --globals-only").stdout
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive, tarfile.open(fileobj=io.BytesIO(files)) as found:
        for member in found:
            archive.addfile(member, found.extractfile(member) if member.isfile() else None)
        info = tarfile.TarInfo("globals.sql")
        info.size, info.mode = len(roles.encode()), 0o600
        archive.addfile(info, io.BytesIO(roles.encode()))
        archive.add(SOURCE, "build")
    return stream.getvalue()


def _bare(machine: Machine, payload: bytes) -> float:
    blueprint = _blueprint()
    text = SCRIPT.read_bytes()
    databases = " ".join(database.name for database in blueprint.shared_databases)
    arguments = [
        blueprint.paths.stacks,
        IMAGE,
        str(blueprint.postgres_major),
        str(blueprint.postgres_pgdg).lower(),
        databases,
    ]
    words = " ".join(f"'{word}'" for word in [*arguments, *_stacks(blueprint)])
    ssh = ["ssh", "-F", str(machine.lab.state / "ssh_config"), "lab"]
    started = time.monotonic()
    done = subprocess.run(
        # As operations/script.py does: the script first, then what it reads.
        [*ssh, f"bash -c 'eval \"$(head -c {len(text)})\"' bare_deploy {words}"],
        input=text + payload,
        check=False,
        capture_output=True,
    )
    if done.returncode:
        raise SystemExit(f"the bare script failed:\n{(done.stdout + done.stderr).decode(errors='replace')}")
    return time.monotonic() - started


if __name__ == "__main__":
    main()

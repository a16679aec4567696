"""The lab from the command line: `python -m lab COMMAND`; the Makefile's `lab…` targets call it."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Callable

from lab import backends, network, overlay, upstream
from lab.backends import server
from lab.paths import Lab, lab
from lab.supplies import supply


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is a command-line program


def internet(the_lab: Lab) -> None:
    """Bring up all of the lab but its server; one of another kind than LAB_BACKEND names is stopped."""
    machine = server(the_lab)
    if not machine.running:
        backends.stop(the_lab)
    network.up(the_lab)
    say("simulated internet …")
    upstream.start(the_lab, machine.kernel)
    supply(the_lab)


def up(the_lab: Lab) -> None:
    """Bring the lab up; what runs stays as it is, what a killed run left behind is cleaned up."""
    started = time.monotonic()
    internet(the_lab)
    machine = server(the_lab)
    say(f"server in {machine.description} …")
    machine.start()
    say(f"lab {the_lab.name} is up after {time.monotonic() - started:.1f} s: ssh -F .lab/ssh_config lab")


def down(the_lab: Lab) -> None:
    """Stop everything of the lab; its disks and snapshots stay in `.lab/`."""
    backends.stop(the_lab)
    server(the_lab).forget_access()
    upstream.stop(the_lab)
    network.down(the_lab)
    # What a killed test has mounted; a checkout below this one has a lab of its own.
    for mount in overlay.mounts():
        if the_lab.state in mount.parents and ".lab" not in mount.relative_to(the_lab.state).parts:
            overlay.unmount(mount)


def reset(the_lab: Lab) -> None:
    """A fresh machine in a running lab."""
    machine = server(the_lab)
    if not machine.running or not upstream.ready(the_lab):
        internet(the_lab)
    machine.reset()


def shell(the_lab: Lab) -> None:
    """A root shell on the server."""
    up(the_lab)
    os.execvp("ssh", ["ssh", "-F", str(the_lab.state / "ssh_config"), "lab"])  # noqa: S606 - becomes ssh


def status(the_lab: Lab) -> None:
    """What runs, where, and which snapshots there are."""
    machine = server(the_lab)
    say(f"lab        {the_lab.name} of {the_lab.checkout}")
    say(f"server     {the_lab.machine} {'running' if machine.running else 'down'}, {machine.description}")
    say(f"internet   {the_lab.upstream} {'running' if upstream.ready(the_lab) else 'down'}")
    say(f"snapshots  {', '.join(machine.snapshots()) or 'none'}")


def main() -> None:
    """Parse the command line and run one command under the lab's lock."""
    plain: dict[str, Callable[[Lab], None]] = {
        "internet": internet,
        "up": up,
        "down": down,
        "reset": reset,
        "shell": shell,
        "status": status,
    }
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in plain.items():
        commands.add_parser(name, help=function.__doc__)
    for name, text in (
        ("snapshot", "keep the server's disks under a name"),
        ("restore", "return the server to a snapshot"),
        ("profile", "make the server present itself as one of the hardware profiles"),
    ):
        commands.add_parser(name, help=text).add_argument("name")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("the lab mounts, bridges and boots: run it as root (sudo make lab)")
    the_lab = lab()
    the_lab.state.mkdir(mode=0o700, exist_ok=True)
    lock = (the_lab.state / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # one command at a time; it goes with this process
    match arguments.command:
        case "snapshot":
            server(the_lab).snapshot(arguments.name)
        case "restore":
            server(the_lab).restore(arguments.name)
        case "profile":
            server(the_lab).present(arguments.name)
        case command:
            plain[command](the_lab)


if __name__ == "__main__":
    main()

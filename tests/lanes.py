"""The suites of `make test` side by side: each lane in a checkout of its own, since a checkout has one lab.

    python -m tests.lanes [TARGET ...]

The first lane is this checkout; the others are copies in `.lab/lanes`, which stay until the next run. Further targets
of the Makefile are a third lane. A suite that fails stops no other one.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

from lab.paths import CHECKOUT
from tests.copies import copy_checkout

COPIES = CHECKOUT / ".lab" / "lanes"
# Targets of the Makefile, in their order. What takes longest is in the first lane.
LANES = {"first": ("unit", "services"), "second": ("host", "adoption", "projects")}


def make(folder: Path, *arguments: str) -> list[str]:
    """The command that makes targets in a checkout."""
    return ["make", "--no-print-directory", f"--directory={folder}", *arguments]


@contextmanager
def checkout_for(lane: str) -> Iterator[Path]:
    """The folder of a lane; but for the first, a copy with this checkout's programs, whose lab goes in the end."""
    if lane == next(iter(LANES)):
        yield CHECKOUT
        return
    folder = COPIES / lane
    if folder.exists():
        subprocess.run(make(folder, "lab-down"), check=True)  # of a run that was killed
        shutil.rmtree(folder)
    copy_checkout(folder)
    (folder / ".venv").symlink_to(CHECKOUT / ".venv")
    try:
        yield folder
    finally:
        subprocess.run(make(folder, "lab-down"), check=True)


def show(lane: str, run: subprocess.Popen[str]) -> None:
    """Print what a run says as it says it; each line begins with the lane's name."""
    assert run.stdout is not None
    for line in run.stdout:
        sys.stdout.write(f"{lane:6} | {line}")
        sys.stdout.flush()


def run_lanes(lanes: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Run all lanes to their end.

    :param lanes: targets of the Makefile by the lane's name
    :return: how each lane's `make` ended
    """
    with ExitStack() as cleanup:
        runs: dict[str, subprocess.Popen[str]] = {}
        for lane, targets in lanes.items():
            folder = cleanup.enter_context(checkout_for(lane))
            run = subprocess.Popen(
                make(folder, "--keep-going", *targets),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            runs[lane] = cleanup.enter_context(run)
            cleanup.callback(run.terminate)  # where this process is told to end
        shown = [Thread(target=show, args=item, daemon=True) for item in runs.items()]
        for thread in shown:
            thread.start()
        ended = {lane: run.wait() for lane, run in runs.items()}
        for thread in shown:
            thread.join(timeout=5)  # an SSH connection that is kept holds the output open
        return ended


def main() -> int:
    """Gives 1 where a suite has failed, 130 where it was interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lanes = LANES | ({"third": tuple(sys.argv[1:])} if sys.argv[1:] else {})
    try:
        ended = run_lanes(lanes)
    except KeyboardInterrupt:
        return 130
    for lane, rc in ended.items():
        sys.stdout.write(f"{lane:6} | {' '.join(lanes[lane])}: {'failed' if rc else 'passed'}\n")
    return 1 if any(ended.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

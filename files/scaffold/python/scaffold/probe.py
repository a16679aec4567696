"""`scaffold-health`: exit 0 if the worker in this container is healthy. It runs often: standard library only."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

STATUS = "/tmp/scaffold-health.json"  # noqa: S108 - a container's own
STALE_S = 90.0


def verdict(path: Path, now: float) -> tuple[int, str]:
    """Exit status, and the line that Docker keeps.

    :param now: seconds since the epoch
    """
    try:
        status = json.loads(path.read_text())
    except FileNotFoundError:
        return 1, "not ready yet"
    age = now - status["at"]
    if age > STALE_S:
        return 1, f"no report for {age:.0f} s"
    if status["healthy"]:
        return 0, "ok"
    wires = status["wires"].items()
    return 1, "; ".join(f"{name}: {wire['problem']}" for name, wire in wires if not wire["ok"])


def main() -> int:
    """Print the line, and exit with the status."""
    code, line = verdict(Path(os.environ.get("SCAFFOLD_STATUS", STATUS)), time.time())
    sys.stdout.write(f"{line}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

"""The container toolkit's hook, and its runtime: containers get the cards they ask for, or do not start.

Docker runs `nvidia-container-runtime-hook prestart` for `--gpus`; `--runtime=nvidia` comes through
`nvidia-container-runtime`, which adds the same hook and hands over to runc. The real hook mounts the driver into
the container; here the environment variable is all that a container gets.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from .state import driver_loaded, load

HOOK = "/usr/bin/nvidia-container-runtime-hook"
VARIABLE = "NVIDIA_VISIBLE_DEVICES"


def hook() -> int:
    """Check the cards that a starting container asks for. The container's state is on standard input."""
    if sys.argv[1:] not in ([], ["prestart"]):  # createRuntime and the later hooks have nothing to do
        return 0
    bundle = Path(json.load(sys.stdin)["bundle"])
    wanted = visible_devices(json.loads((bundle / "config.json").read_text()))
    if not wanted:
        return 0
    problem = _problem(wanted)
    if problem is None:
        return 0
    sys.stderr.write(f"Auto-detected mode as 'legacy'\nnvidia-container-cli: {problem}\n")
    return 1


def visible_devices(config: dict[str, Any]) -> list[str]:
    """The cards in a container's configuration: indexes or full UUIDs, `all`, or nothing."""
    value = ""
    for entry in config.get("process", {}).get("env") or []:
        name, _, content = entry.partition("=")
        if name == VARIABLE:
            value = content
    if value in ("", "void", "none"):
        return []
    return value.split(",")


def _problem(wanted: list[str]) -> str | None:
    if not driver_loaded():
        return "initialization error: nvml error: driver not loaded"
    machine = load()
    for device in wanted:
        if device != "all" and (machine.find(device) is None or ":" in device):
            return f"device error: {device}: unknown device"
    return None


def runtime() -> int:
    """Be runc, with the hook added to a container that is being created."""
    arguments = sys.argv[1:]
    if "create" in arguments:
        for place, word in enumerate(arguments):
            if word in ("--bundle", "-b"):
                add_hook(Path(arguments[place + 1]) / "config.json")
    os.execvp("runc", ["runc", *arguments])  # noqa: S606 - no shell is the point


def add_hook(config: Path) -> None:
    """Have the hook run before the container starts, once."""
    content = json.loads(config.read_text())
    prestart = content.setdefault("hooks", {}).setdefault("prestart", [])
    if all(Path(entry["path"]).name != Path(HOOK).name for entry in prestart):
        prestart.append({"path": HOOK, "args": [Path(HOOK).name, "prestart"]})
        config.write_text(json.dumps(content))

"""`nvidia-ctk` of the container toolkit: version, Docker's runtime entry and the list of CDI devices."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from .state import load

VERSION = "1.17.8"
NAME = f"NVIDIA Container Toolkit CLI version {VERSION}"
CDI_FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="nvidia-ctk", description="Tools to configure the NVIDIA Container Toolkit"
    )
    parser.add_argument("--version", action="version", version=NAME)
    commands = parser.add_subparsers(dest="command", required=True)
    runtime = commands.add_parser("runtime").add_subparsers(dest="action", required=True)
    configure = runtime.add_parser("configure")
    configure.add_argument("--runtime", choices=["docker"], default="docker")
    configure.add_argument("--config", type=Path, default=Path("/etc/docker/daemon.json"))
    configure.add_argument("--nvidia-set-as-default", "--set-as-default", action="store_true")
    configure.add_argument("--dry-run", action="store_true")
    cdi = commands.add_parser("cdi").add_subparsers(dest="action", required=True)
    cdi.add_parser("list")
    cdi.add_parser("generate").add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "runtime":
        return _configure(options.config, options.nvidia_set_as_default, options.dry_run)
    return _list() if options.action == "list" else _generate(options.output)


def _log(message: str, level: str = "info") -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stderr.write(f"time={stamp} level={level} msg={json.dumps(message)}\n")


def _configure(config: Path, default: bool, dry: bool) -> int:
    daemon: dict[str, Any] = {}
    if config.exists():
        _log(f"Loading config from {config}")
        try:
            daemon = json.loads(config.read_text() or "{}")
        except ValueError as error:
            _log(f"unable to load config for runtime docker: {error}", "error")
            return 1
    else:
        _log("Config file does not exist; using empty config")
    daemon.setdefault("runtimes", {})["nvidia"] = {"args": [], "path": "nvidia-container-runtime"}
    if default:
        daemon["default-runtime"] = "nvidia"
    text = json.dumps(daemon, indent=4, sort_keys=True)
    if dry:
        sys.stdout.write(text + "\n")
        return 0
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text)
    _log(f"Wrote updated config to {config}")
    _log("It is recommended that docker daemon be restarted.")
    return 0


def _generate(output: Path | None) -> int:
    present = load().present
    names = [name for index, gpu in enumerate(present) for name in (str(index), gpu.uuid)]
    devices = [{"name": name, "containerEdits": {}} for name in [*names, "all"]]
    text = json.dumps({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}, indent=2) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)
        _log(f"Generated CDI spec with version 0.5.0 in {output}")
    return 0


def _list() -> int:
    devices: list[str] = []
    for folder in CDI_FOLDERS:
        for spec in sorted([*folder.glob("*.yaml"), *folder.glob("*.json")]):
            content = json.loads(spec.read_text())  # what `generate` writes: JSON is YAML
            devices += [f"{content['kind']}={device['name']}" for device in content["devices"]]
    _log(f"Found {len(devices)} CDI devices")
    sys.stdout.write("".join(device + "\n" for device in devices))
    return 0

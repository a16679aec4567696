"""The system under everything, asked on the host itself; standard library only. Argument: JSON, see `main`."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROPERTIES = "Id,LoadState,ActiveState,SubState,UnitFileState,ConditionResult,Result,NeedDaemonReload,MainPID"


def lines(*command: str) -> list[str]:
    """Output of a command, whatever its exit status."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def packages() -> dict[str, Any]:
    """Version and state of each package, "ii" for an installed one."""
    found = (
        line.split("\t")
        for line in lines("dpkg-query", "-W", "-f=${Package}\\t${db:Status-Abbrev}\\t${Version}\\n")
    )
    return {name: {"state": state.strip(), "version": version} for name, state, version in found}


def units(names: Sequence[str]) -> dict[str, Any]:
    """Properties of units, and of all that have failed."""
    failed = [line.split()[0] for line in lines("systemctl", "--failed", "--plain", "--no-legend")]
    text = "\n".join(lines("systemctl", "show", f"--property={PROPERTIES}", *names))
    found = [dict(line.split("=", 1) for line in block.splitlines()) for block in text.split("\n\n") if block]
    return {"failed": failed, "named": {unit["Id"]: unit for unit in found}}


def environment(pid: str) -> dict[str, str]:
    """Variables of Ollama and CUDA of a running process."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    pairs = (pair.partition("=") for pair in text.split("\0"))
    return {name: value for name, _, value in pairs if re.match("OLLAMA_|CUDA_", name)}


def swaps() -> dict[str, Any]:
    """Size in KiB and priority of each active swap."""
    found = (line.split() for line in Path("/proc/swaps").read_text().splitlines()[1:])
    return {name: {"kib": int(size), "priority": int(priority)} for name, _, size, _, priority in found}


def zram() -> dict[str, Any]:
    """Algorithm in force and size in bytes of each compressed disk."""
    found = {}
    for device in Path("/sys/block").glob("zram*"):
        chosen = re.search(r"\[(.+?)\]", (device / "comp_algorithm").read_text())
        found[f"/dev/{device.name}"] = {
            "algorithm": chosen and chosen[1],
            "bytes": int((device / "disksize").read_text()),
        }
    return found


def sockets() -> list[list[Any]]:
    """Protocol, address, port and program of each listening socket."""
    found = []
    for line in lines("ss", "-Hlntup"):
        protocol, _, _, _, local, *rest = line.split()
        address, _, port = local.rpartition(":")
        program = re.search(r'\(\("([^"]+)"', " ".join(rest))
        found.append(
            [protocol, address.partition("%")[0].strip("[]"), int(port), program[1] if program else ""]
        )
    return found


def files(paths: Sequence[str]) -> dict[str, Any]:
    """Kind, mode, owner, group and size of each path, and of everything below those that end in /."""
    found = {}
    for path in paths:
        command = ["find", path.rstrip("/") or "/", *([] if path.endswith("/") else ["-maxdepth", "0"])]
        for line in lines(*command, "-xdev", "-printf", "%y\\t%m\\t%u\\t%g\\t%s\\t%T@\\t%p\\n"):
            kind, mode, owner, group, size, changed, name = line.split("\t", 6)
            found[name] = {
                "kind": kind,
                "mode": mode.rjust(4, "0"),
                "owner": owner,
                "group": group,
                "size": int(size),
                "changed": float(changed),
            }
    return found


def certificates(domains: Sequence[str]) -> dict[str, float | str]:
    """Seconds until each domain's certificate ends, as this host's own proxy serves it, or why it is not valid."""
    found: dict[str, float | str] = {}
    for domain in domains:
        try:
            plain = socket.create_connection(("127.0.0.1", 443), timeout=10)
            with plain, ssl.create_default_context().wrap_socket(plain, server_hostname=domain) as secure:
                ends = (secure.getpeercert() or {})["notAfter"]
                found[domain] = ssl.cert_time_to_seconds(str(ends)) - time.time()
        except (OSError, ValueError, KeyError) as error:
            found[domain] = str(error)
    return found


def main(question: dict[str, Any]) -> None:
    """Print everything."""
    named = units(question["units"])
    json.dump(
        {
            "packages": packages(),
            "held": lines("apt-mark", "showhold"),
            "failed": named["failed"],
            "units": named["named"],
            "environments": {
                name: environment(unit["MainPID"])
                for name, unit in named["named"].items()
                if unit.get("MainPID", "0") != "0"
            },
            "sysctl": {
                name: Path("/proc/sys", *name.split(".")).read_text().strip() for name in question["sysctl"]
            },
            "swaps": swaps(),
            "zram": zram(),
            "container": (lines("systemd-detect-virt", "--container") or ["none"])[0],
            "sockets": sockets(),
            "files": files(question["files"]),
            "certificates": certificates(question["domains"]),
            "time_synchronised": lines("timedatectl", "show", "--property=NTPSynchronized", "--value"),
        },
        sys.stdout,
    )


main(json.loads(sys.argv[1]))

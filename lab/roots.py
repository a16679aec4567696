"""Bootstrapped Debian roots, cached by content: read-only lower layers of the lab's machines.

The mirror, its keys, proxies and extra certificate authorities are those that this machine is configured with; none is
named here.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from lab.paths import CACHE

SUITE = "trixie"
LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")


def mirror() -> str:
    """URI of the Debian mirror of this machine, from its own apt configuration."""
    lines = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(SITE)|$(REPO_URI)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    for line in lines:
        origin, label, _, uri = line.split("|")
        if origin == "Debian" and label == "Debian":
            return uri.rstrip("/")
    raise SystemExit(
        "no Debian mirror in this machine's apt configuration; run `apt-get update` once, then `make lab`"
    )


def root(name: str, packages: Iterable[str], extra: Iterable[Path] = ()) -> Path:
    """A bootstrapped root with `packages`, made on first use.

    :param name: readable part of the cache entry
    :param packages: Debian package names beyond the essential ones
    :param extra: files or folders whose content the caller adds in `finish`; they only count for the cache key
    :return: folder that must be used as a read-only lower layer
    """
    needed = sorted(set(packages))
    authorities = sorted(LOCAL_AUTHORITIES.glob("*.crt"))
    key = hashlib.sha256("\n".join([SUITE, mirror(), *needed]).encode())
    for source in [*authorities, *extra]:
        key.update(source.read_bytes())
    target = CACHE / "roots" / f"{name}-{key.hexdigest()[:16]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _bootstrap(target, needed, authorities)
    return target


def _bootstrap(target: Path, packages: list[str], authorities: list[Path]) -> None:
    building = target.with_name(f".{target.name}.{os.getpid()}")
    print(f"bootstrapping {target.name} ({len(packages)} packages beside the essential ones)", flush=True)  # noqa: T201 - progress
    # The tarball, not the folder: mmdebstrap's cleanest output, and it never mounts anything here.
    tar = building.with_suffix(".tar")
    uri = mirror()
    components = "main contrib non-free non-free-firmware"
    suites = (SUITE, f"{SUITE}-updates")
    sources = [f"deb {uri} {suite} {components}" for suite in suites]
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={','.join(packages)}",
            SUITE,
            str(tar),
            *sources,
        ],
        check=True,
    )
    building.mkdir()
    subprocess.run(["tar", "--numeric-owner", "-C", str(building), "-xf", str(tar)], check=True)
    tar.unlink()
    for authority in authorities:
        shutil.copy(authority, building / LOCAL_AUTHORITIES.relative_to("/"))
    if authorities:
        subprocess.run(
            ["chroot", str(building), "update-ca-certificates", "--fresh"], check=True, capture_output=True
        )
    building.rename(target)

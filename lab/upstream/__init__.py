"""The simulated internet of a lab: real software where Debian has it, stand-ins for the rest (lab/README.md)."""

from __future__ import annotations

from lab.paths import Lab
from lab.upstream import downloads, server
from lab.upstream.accounts import keys, seeds
from lab.upstream.client import machine_files
from lab.upstream.downloads import checksums
from lab.upstream.server import ready, stop
from lab.upstream.traffic import disturb, recover, requests, telegrams

__all__ = [
    "checksums",
    "disturb",
    "keys",
    "machine_files",
    "ready",
    "recover",
    "requests",
    "seeds",
    "start",
    "stop",
    "telegrams",
]


def start(lab: Lab, kernel: str) -> None:
    """Bring the simulated internet up and publish its downloads; idempotent, returns when it answers.

    :param kernel: release of the server's kernel, which headers are offered for
    """
    server.start(lab)
    downloads.publish(lab, kernel)

"""The simulated internet of a lab: real software where Debian has it, stand-ins for the rest (tests/lab/README.md)."""

from __future__ import annotations

from tests.lab.paths import Lab
from tests.lab.upstream import downloads, server
from tests.lab.upstream.accounts import keys, seeds
from tests.lab.upstream.client import machine_files
from tests.lab.upstream.downloads import checksums
from tests.lab.upstream.server import ready, stop
from tests.lab.upstream.traffic import disturb, recover, requests, telegrams

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


def start(lab: Lab) -> None:
    """Bring the simulated internet up and publish its downloads; idempotent, returns when it answers."""
    server.start(lab)
    downloads.publish(lab)

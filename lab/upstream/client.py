"""What a machine brings to live in the simulated internet: name server, package sources, the pin of its cards."""

from __future__ import annotations

import subprocess

from lab import roots
from lab.paths import Lab
from lab.upstream import downloads
from lab.upstream.names import DRIVER_PACKAGES

KEYRING = "/usr/share/keyrings/sourcefast-lab.asc"


def machine_files(lab: Lab) -> dict[str, str]:
    """Contents of the files that the machine's root needs, by path. `start` must have published the repositories."""
    mirror = roots.mirror()
    return {
        "/etc/resolv.conf": f"nameserver {lab.upstream}\n",
        KEYRING: (downloads.downloads(lab) / downloads.DRIVER_KEY).read_text(),
        "/etc/apt/sources.list": "# see sources.list.d\n",
        "/etc/apt/sources.list.d/debian.sources": (
            f"Types: deb\nURIs: {mirror}\nSuites: {roots.SUITE} {roots.SUITE}-updates\nComponents: main\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        ),
        "/etc/apt/sources.list.d/lab.sources": (
            f"Types: deb\nURIs: https://{DRIVER_PACKAGES}/\nSuites: ./\nSigned-By: {KEYRING}\n"
        ),
        # Debian's own archive has the real packages under the same names, which want a real card.
        "/etc/apt/preferences.d/lab": f"Package: *\nPin: origin {DRIVER_PACKAGES}\nPin-Priority: 1001\n",
        "/etc/apt/apt.conf.d/99mirror": _validity(),
    }


def _validity() -> str:
    """This machine's settings for mirrors that are frozen in time; needed wherever the mirror is used."""
    options = ("Acquire::Check-Valid-Until", "Acquire::Check-Date")
    dump = subprocess.run(["apt-config", "dump", *options], check=True, capture_output=True, text=True).stdout
    return "".join(f"{line}\n" for line in dump.splitlines() if line.partition(" ")[0] in options)

"""The names of the simulated internet: DNS, certificate and web server are derived from this one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

DRIVER_PACKAGES = (
    "nvidia-packages.lab"  # no real name: Debian's own archive has these packages, for real cards
)
TOOLKIT_PACKAGES = "nvidia.github.io"
# Those that Debian's systemd-timesyncd asks, one after the other.
TIME_SERVERS = tuple(f"{number}.debian.pool.ntp.org" for number in range(4))
RELEASE_ASSETS = "objects.githubusercontent.com"


class Serves(StrEnum):
    """What answers under a name."""

    REGISTRY = "registry"  # Debian's docker-registry
    API = "api"  # api.py
    ACME = "acme"  # Pebble, the test server of Let's Encrypt's makers
    FILES = "files"  # a folder of downloads
    RELEASES = "releases"  # redirects to RELEASE_ASSETS, as GitHub does
    MIRROR = "mirror"  # the Debian mirror this machine is configured with, passed through


@dataclass(frozen=True)
class Site:
    """A simulated host.

    :param name: its DNS name
    :param serves: what answers
    :param folder: of the registry or of the downloads: where its content is
    """

    name: str
    serves: Serves
    folder: str = ""


SITES = (
    # The engine turns docker.io into this name.
    Site("registry-1.docker.io", Serves.REGISTRY, "docker.io"),
    Site("ghcr.io", Serves.REGISTRY, "ghcr.io"),
    Site("quay.io", Serves.REGISTRY, "quay.io"),
    Site("github.com", Serves.RELEASES),
    Site(RELEASE_ASSETS, Serves.FILES, "releases"),
    Site("registry.ollama.ai", Serves.FILES, "ollama-models"),
    Site(TOOLKIT_PACKAGES, Serves.FILES, "nvidia-toolkit"),
    Site(DRIVER_PACKAGES, Serves.FILES, "nvidia-driver"),
    Site("api.groq.com", Serves.API),
    Site("api.openai.com", Serves.API),
    Site("generativelanguage.googleapis.com", Serves.API),
    Site("api.telegram.org", Serves.API),
    Site("acme-v02.api.letsencrypt.org", Serves.ACME),
)


@dataclass(frozen=True)
class Mirror:
    """The Debian mirror, seen as a host to pass through to."""

    scheme: str
    name: str
    port: int

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.name}:{self.port}"

    @classmethod
    def of(cls, uri: str) -> Mirror:
        """:raises ValueError: for a mirror that is no web server (`file:`, `cdrom:`)"""
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"this machine's Debian mirror is {uri}; the lab needs an http or https one")
        return cls(parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme])


def host_names(mirror: Mirror) -> list[str]:
    """Every simulated name, the Debian mirror's included."""
    return [*(site.name for site in SITES), mirror.name]

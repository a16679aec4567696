"""Where the RUN steps of image builds get packages: from the indexes this machine is configured with.

The configuration is mounted for the build and leaves no trace in the image.
"""

from __future__ import annotations

import ast
import configparser
import functools
import io
import os
import re
import subprocess
import sys
from pathlib import Path

AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt"  # in the image, where this machine's and the lab's are trusted
)
# Settings whose paths mean nothing in an image.
OF_THIS_MACHINE = ("cert", "client-cert", "log", "cache-dir")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def configuration() -> dict[str, bytes]:
    """`pip.conf` and `npmrc` for a build."""
    return {"pip.conf": pip_configuration(_pip_settings()).encode(), "npmrc": _npm_settings().encode()}


def paths() -> list[Path]:
    """Folders and files of this machine that pip's configuration points at; a build sees them where they are."""
    return local_paths(_pip_settings())


def proxies() -> dict[str, str]:
    """This machine's proxy settings."""
    return {name: os.environ[name] for name in PROXIES if name in os.environ}


def pip_configuration(settings: str) -> str:
    """A pip.conf from what `pip config list` prints, environment variables included.

    Certificates and paths of this machine's own trust store are replaced by the image's.
    """
    merged = configparser.RawConfigParser()
    merged.add_section("global")
    # Environment variables come first in the list and win.
    for line in sorted(settings.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        section = "global" if section == ":env:" else section
        if key in OF_THIS_MACHINE:
            continue
        if not merged.has_section(section):
            merged.add_section(section)
        merged.set(section, key, str(ast.literal_eval(value)).replace("\n", "\n\t"))
    merged.set("global", "cert", AUTHORITIES)
    text = io.StringIO()
    merged.write(text)
    return text.getvalue()


def local_paths(settings: str) -> list[Path]:
    """Existing folders and files that the output of `pip config list` names: indexes, wheels, constraints.

    Of an index (a file: address) its parent: the pages of an index lead to files beside it.
    """
    lines = [line for line in settings.splitlines() if _key(line) not in OF_THIS_MACHINE]
    settings = "\n".join(lines)
    indexes = [Path(path).parent for path in re.findall(r"file://(/[^\s'\\]+)", settings)]
    named = [Path(path) for path in re.findall(r"(?<=['\s])(/[^\s'\\]+)", settings)]
    return sorted({path for path in [*indexes, *named] if path.exists() and path != Path("/")})


def _key(line: str) -> str:
    """The key in a line of `pip config list`, without its section."""
    return line.partition("=")[0].rpartition(".")[2]


@functools.cache
def _pip_settings() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True
    )
    return done.stdout if done.returncode == 0 else ""


def _npm_settings() -> str:
    user = Path.home() / ".npmrc"
    lines = user.read_text().splitlines() if user.is_file() else []
    lines = [
        line
        for line in lines
        if line.partition("=")[0].strip() not in ("cafile", "prefix", "cache", "nodedir")
    ]
    for name, value in os.environ.items():
        if name.lower() == "npm_config_registry":
            lines.append(f"registry={value}")
    return "".join(f"{line}\n" for line in [*lines, f"cafile={AUTHORITIES}"])

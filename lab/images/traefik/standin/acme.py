"""Certificates of Let's Encrypt by the challenge HTTP-01, from lego, which the real one has as a library."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .certificates import Pair

CHALLENGE = "/.well-known/acme-challenge/"
TIMEOUT_S = 120
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


class Acme:
    """An account, made with the first certificate.

    :param folder: where it and the answers to challenges are kept
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._web = folder / "web"
        self._web.mkdir(parents=True, exist_ok=True)

    def obtain(self, domain: str) -> Pair:
        """A certificate with its chain, and its key.

        :raises OSError: Let's Encrypt refuses, or is not there
        """
        account = ("--accept-tos", f"--email=traefik@{domain.partition('.')[2]}", f"--path={self._folder}")
        challenge = ("--http", f"--http.webroot={self._web}")
        command = ["lego", *account, *challenge, f"--domains={domain}", "run"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise OSError(f"no answer in {TIMEOUT_S} s") from None
        if done.returncode:
            raise OSError((done.stderr or done.stdout).strip().rpartition("\n")[2])
        certificate = self._folder / "certificates" / f"{domain}.crt"
        return certificate.read_bytes(), certificate.with_suffix(".key").read_bytes()

    def answer(self, path: str) -> str:
        """What Let's Encrypt is to find at a path below CHALLENGE; empty where nothing is."""
        file = self._web / path.removeprefix("/")
        known = _TOKEN.fullmatch(path.removeprefix(CHALLENGE)) and file.is_file()
        return file.read_text() if known else ""

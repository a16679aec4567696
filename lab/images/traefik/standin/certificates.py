"""Certificates: Traefik's own default one, and those of domains from the simulated Let's Encrypt."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

RETRY_S = 10
Pair = tuple[bytes, bytes]  # certificate with its chain, and key; PEM


class Certificates:
    """The TLS side of all entry points: a context for each domain, asked for when a route first names it.

    :param storage: Traefik's acme.json; nothing is kept where it is empty
    :param obtain: gets a certificate for a domain
    """

    def __init__(self, storage: str, obtain: Callable[[str], Pair]) -> None:
        self._storage = Path(storage) if storage else None
        self._obtain = obtain
        self._pairs: dict[str, Pair] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._tried: dict[str, float] = {}
        self._lock = threading.Lock()
        self.default = _context(self_signed("TRAEFIK DEFAULT CERT"))
        self.default.sni_callback = self._choose
        self._load()

    def ensure(self, domain: str, resolver: str) -> None:
        """Have a certificate for a domain; one that failed is tried again after a while.

        :raises OSError: it cannot be had now
        """
        with self._lock:
            if domain in self._contexts or time.monotonic() - self._tried.get(domain, -RETRY_S) < RETRY_S:
                return
            self._tried[domain] = time.monotonic()
        pair = self._obtain(domain)
        with self._lock:
            self._pairs[domain] = pair
            self._contexts[domain] = _context(pair)
            self._save(resolver)

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        context = self._contexts.get((name or "").lower())
        if context is not None:
            connection.context = context

    def _load(self) -> None:
        if self._storage is None:
            return
        with suppress(FileNotFoundError, ValueError):
            for resolver in json.loads(self._storage.read_text()).values():
                for entry in resolver.get("Certificates") or ():
                    pair = (base64.b64decode(entry["certificate"]), base64.b64decode(entry["key"]))
                    self._pairs[entry["domain"]["main"]] = pair
                    self._contexts[entry["domain"]["main"]] = _context(pair)

    def _save(self, resolver: str) -> None:
        if self._storage is None:
            return
        entries = [
            {
                "domain": {"main": domain},
                "certificate": base64.b64encode(certificate).decode(),
                "key": base64.b64encode(key).decode(),
                "Store": "default",
            }
            for domain, (certificate, key) in sorted(self._pairs.items())
        ]
        self._storage.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._storage.with_name(f".{self._storage.name}.new")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({resolver: {"Account": None, "Certificates": entries}}, file)
        temporary.rename(self._storage)


def self_signed(name: str) -> Pair:
    """A certificate that nobody trusts."""
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key"
        certificate = _openssl(
            *(
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                str(key),
            ),
            *("-subj", f"/CN={name}", "-days", "365"),
        )
        return certificate, key.read_bytes()


def _openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


def _context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(pair[0] + pair[1])
        file.flush()
        context.load_cert_chain(file.name)
    return context

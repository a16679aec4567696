"""The lab's certificate authority and apt signing key: made once, kept private, shared by this user's labs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import trustme

from lab.paths import CACHE

FOLDER = CACHE / "authority"
TRUSTED_AS = Path("usr/local/share/ca-certificates/sourcefast-lab.crt")


def certificate_file() -> Path:
    """The authority's certificate (PEM), for every program that has to trust it."""
    _once("ca.key", _make_authority)
    return FOLDER / "ca.crt"


def certificate(names: Iterable[str], addresses: Iterable[str], out: Path) -> None:
    """Write a leaf certificate and its key as `out`/tls.crt and `out`/tls.key (0600).

    :param names: host names the certificate is for
    :param addresses: IP addresses it is for
    :param out: existing folder
    """
    authority = trustme.CA.from_pem(certificate_file().read_bytes(), (FOLDER / "ca.key").read_bytes())
    leaf = authority.issue_cert(*names, *addresses, organization_name="SourceFast lab")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    write_private(out / "tls.key", leaf.private_key_pem.bytes())
    write_private(out / "tls.crt", chain)


def issuer(out: Path) -> None:
    """Write an authority below the lab's own as `out`/issuer.crt and `out`/issuer.key (0600): it can be thrown away.

    :param out: existing folder
    """
    authority = trustme.CA.from_pem(certificate_file().read_bytes(), (FOLDER / "ca.key").read_bytes())
    below = authority.create_child_ca()
    write_private(out / "issuer.key", below.private_key_pem.bytes())
    write_private(out / "issuer.crt", below.cert_pem.bytes())


def install(root: Path) -> None:
    """Make the programs of a Debian root trust the authority; does nothing where they do.

    :param root: root folder that has the package ca-certificates and may be written
    """
    source, target = certificate_file(), root / TRUSTED_AS
    if target.is_file() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    subprocess.run(["chroot", str(root), "update-ca-certificates"], check=True, capture_output=True)


def apt_key(generate: Callable[[], bytes]) -> bytes:
    """The secret key (armoured OpenPGP) that signs the lab's apt repositories.

    :param generate: makes it where there is none yet
    """
    _once("apt.key", lambda: write_private(FOLDER / "apt.key", generate()))
    return (FOLDER / "apt.key").read_bytes()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads; a reader sees the old content or the new, never half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    temporary.rename(path)


def _once(last_file: str, make: Callable[[], None]) -> None:
    """Call `make` unless what it writes last is there; two labs that start together agree on one outcome."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (FOLDER / last_file).is_file():
            make()


def _make_authority() -> None:
    authority = trustme.CA(organization_name="SourceFast lab", organization_unit_name="simulated internet")
    write_private(FOLDER / "ca.crt", authority.cert_pem.bytes())
    write_private(FOLDER / "ca.key", authority.private_key_pem.bytes())

"""The simulated Let's Encrypt: its chains end at the lab's authority, and it finds the owner's domains."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trustme

from lab import authority
from lab.upstream import acme_chain, server

DOMAIN = "litellm.augmenter.pro"


def verified(trusted: bytes, chain: bytes, leaf: bytes, folder: Path) -> bool:
    files = {"trusted": trusted, "chain": chain, "leaf": leaf}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command = ["openssl", "verify", "-purpose", "sslserver", "-verify_hostname", DOMAIN]
    command += ["-CAfile", str(folder / "trusted"), "-untrusted", str(folder / "chain"), str(folder / "leaf")]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_who_trusts_the_lab_trusts_a_root_that_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "FOLDER", tmp_path / "authority")
    (tmp_path / "config").mkdir()
    authority.issuer(tmp_path / "config")
    assert (tmp_path / "config/issuer.key").stat().st_mode & 0o777 == 0o600
    pebble = trustme.CA()
    leaf, *intermediate = (
        blob.bytes() for blob in pebble.create_child_ca().issue_cert(DOMAIN).cert_chain_pems
    )
    chain = b"".join([*intermediate, acme_chain.signed(pebble.cert_pem.bytes(), tmp_path / "config")])
    lab = authority.certificate_file().read_bytes()
    assert verified(lab, chain, leaf, tmp_path)
    assert not verified(lab, b"".join(intermediate) or leaf, leaf, tmp_path)
    assert not verified(trustme.CA().cert_pem.bytes(), chain, leaf, tmp_path)


def test_every_declared_domain_leads_to_the_server() -> None:
    assert server.zones() and not [zone for zone in server.zones() if zone.count(".") != 1]

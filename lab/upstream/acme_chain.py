"""Has Pebble's root, a new one at each start, signed below the lab's authority, so that who trusts that trusts it.

Runs inside the upstream, on the standard library and openssl.
"""

from __future__ import annotations

import argparse
import ssl
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

START_S = 60
EXTENSIONS = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"


def signed(root: bytes, config: Path) -> bytes:
    """The root's name and key in a certificate of the lab's issuer, and the issuer's own; PEM.

    :param config: the folder with issuer.crt and issuer.key
    """
    issuer = config / "issuer.crt"
    with tempfile.TemporaryDirectory() as folder:
        certificate, extensions = Path(folder) / "root.pem", Path(folder) / "extensions"
        certificate.write_bytes(root)
        extensions.write_text(EXTENSIONS)
        by = ("-CA", str(issuer), "-CAkey", str(issuer.with_suffix(".key")), "-days", "365")
        with_them = ("-clrext", "-extfile", str(extensions))
        command = ["openssl", "x509", "-in", str(certificate), *by, *with_them]
        return subprocess.run(command, check=True, capture_output=True).stdout + issuer.read_bytes()


def main() -> None:
    """Wait for Pebble, then write the chain."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--roots", required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    trust = ssl.create_default_context(cafile=str(arguments.config / "authority.crt"))
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(arguments.roots, timeout=5, context=trust) as answer:  # noqa: S310 - https
                root = answer.read()
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    arguments.out.write_bytes(signed(root, arguments.config))


if __name__ == "__main__":
    main()

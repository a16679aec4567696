"""What Postgres keeps of a password: a SCRAM-SHA-256 verifier, computed here with a salt that we keep.

Postgres and PgBouncer must have the very same verifier for a login to pass through. Were Postgres to compute it,
each `ALTER ROLE … PASSWORD` would make another one; with a kept salt the same password gives the same verifier, both
sides agree, and a second run finds nothing to change.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

ITERATIONS = 4096  # Postgres' own default (scram_iterations)
SALT_BYTES = 16


def salt() -> str:
    """A new salt, in base64: what `Secrets.generated("postgres/<role>.salt", salt)` keeps."""
    return base64.b64encode(secrets.token_bytes(SALT_BYTES)).decode()


def verifier(password: str, salt: str) -> str:
    """The verifier of a password, in the form of pg_authid.rolpassword and of PgBouncer's userlist.

    RFC 5802, as Postgres stores it: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>.

    :param password: printable ASCII, which SASLprep leaves as it is
    :param salt: base64
    :raises ValueError: for another password or salt; neither is in the message
    """
    if not password or not (password.isascii() and password.isprintable()):
        raise ValueError("a password of Postgres must be printable ASCII and not empty")
    try:
        raw = base64.b64decode(salt, validate=True)
    except ValueError:
        raise ValueError("the salt of a password must be base64") from None
    if not raw:
        raise ValueError("the salt of a password must not be empty")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), raw, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    keys = (base64.b64encode(key).decode() for key in (stored_key, server_key))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt}${':'.join(keys)}"

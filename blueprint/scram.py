"""SCRAM-SHA-256 verifiers, which Postgres stores in place of passwords, computed here with a stored salt.

Postgres and PgBouncer need the same verifier to pass a login on. Postgres itself would compute another one at each
`ALTER ROLE … PASSWORD`; with a stored salt, the same password always has the same verifier, and a second run changes
nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

ITERATIONS = 4096  # Postgres' own default (scram_iterations)
SALT_BYTES = 16


def salt() -> str:
    """A new salt, in base64, for `Secrets.generated("postgres/<role>.salt", salt)`."""
    return base64.b64encode(secrets.token_bytes(SALT_BYTES)).decode()


def verifier(password: str, salt: str) -> str:
    """The verifier of a password, in the format of pg_authid.rolpassword and of PgBouncer's userlist.

    RFC 5802, in the notation of Postgres: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>.

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

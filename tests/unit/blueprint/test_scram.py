"""The verifier of a password: against RFC 7677's example; tests/services/test_postgres.py logs in with it."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from blueprint import scram

SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="
# The example of RFC 7677, section 3: what client and server said before the proof …
AUTH_MESSAGE = (
    "n=user,r=rOprNGfwEbeRWgbNEkqO,"
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)
PROOF = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SIGNATURE = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_rfcs_example_is_accepted_by_its_verifier() -> None:
    scheme, work, keys = scram.verifier("pencil", SALT).split("$")
    stored, server = (base64.b64decode(key) for key in keys.split(":"))
    assert (scheme, work) == ("SCRAM-SHA-256", f"4096:{SALT}")
    # … the server proves with ServerKey that it knows the password,
    assert base64.b64encode(hmac.digest(server, AUTH_MESSAGE.encode(), "sha256")).decode() == SIGNATURE
    # and finds with StoredKey that the client does.
    signature = hmac.digest(stored, AUTH_MESSAGE.encode(), "sha256")
    client_key = bytes(one ^ other for one, other in zip(PROOF, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == stored


def test_the_same_password_and_salt_give_the_same_verifier_and_another_salt_another() -> None:
    assert scram.verifier("pencil", SALT) == scram.verifier("pencil", SALT)
    assert scram.verifier("pencil", SALT) != scram.verifier("pencil", scram.salt())
    assert len(base64.b64decode(scram.salt())) == scram.SALT_BYTES


@pytest.mark.parametrize(
    ("password", "salt"), [("", SALT), ("pässword", SALT), ("a\nb", SALT), ("pencil", "?"), ("pencil", "")]
)
def test_what_cannot_be_a_password_or_salt_is_refused_without_being_shown(password: str, salt: str) -> None:
    with pytest.raises(ValueError, match="must") as refused:
        scram.verifier(password, salt)
    assert not password or password not in str(refused.value)

"""Whose keys a request came with: from the cache, by the quick hash of the secret key, or by the slow one.

As web/src/features/public-api/server/apiAuth.ts does it: the secret key alone decides, and what is in the cache is
believed, that there is no such key among it.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .stores import Cache, hashed, is_hash_of

if TYPE_CHECKING:
    from .stores import Postgres

INVALID = "Invalid credentials. Confirm that you've configured the correct host."


class RefusedError(Exception):
    """The request came without keys, or with none that there are; the message says which."""


@dataclass(frozen=True)
class Scope:
    """What a key pair opens: a project, or an organisation and none of its projects."""

    organisation: str
    project: str | None


def scope(authorization: str, postgres: Postgres, cache: Cache, salt: str) -> Scope:
    """What the keys of a request open.

    :param authorization: the header
    :raises RefusedError: nothing
    """
    scheme, _, value = authorization.partition(" ")
    if not authorization:
        raise RefusedError("No authorization header")
    public = secret = ""
    with suppress(ValueError):
        public, _, secret = base64.b64decode(value).decode().partition(":")
    if scheme.lower() != "basic" or not public or not secret:
        raise RefusedError("Invalid authorization header")
    quick = hashed(secret, salt)
    key = cache.get(quick)
    if key == Cache.ABSENT:
        raise RefusedError(INVALID)
    if key is None and (key := postgres.key("fast_hashed_secret_key", quick)) is not None:
        cache.put(quick, key)
    if key is None:
        key = postgres.key("public_key", public)
        if key is None:
            cache.put(quick, Cache.ABSENT)
            raise RefusedError(INVALID)
        if not is_hash_of(secret, key["hashed_secret_key"]):
            raise RefusedError(INVALID)
        postgres.note_hash(public, quick)
    assert isinstance(key, dict)
    return Scope(key["org_id"], key["project_id"])

"""The wires of a container, each with a check that proves that it works with its credentials."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import httpx
import psycopg
import redis

from . import llm
from .settings import Settings

TIMEOUT_S = 5
KEY_EXPIRES_S = 60  # of a key that a check writes to Redis


class WireError(RuntimeError):
    """A wire does not work. The message has no secret."""


@dataclass(frozen=True)
class Wire:
    """One wire.

    :param check: raises WireError if the wire does not work
    :param required: whether the container needs the wire for its work
    :param every_s: seconds that a success counts; None checks for every report
    """

    name: str
    check: Callable[[], None]
    required: bool = True
    every_s: float | None = None


LLM_EVERY_S = 600.0  # a completion costs a card's time


def configured_wires(settings: Settings, client: httpx.Client) -> list[Wire]:
    """The wires in the settings of a container."""
    wires: list[Wire] = []
    if url := settings.database_url:
        wires.append(Wire("postgres", lambda: postgres(url)))
    if direct := settings.direct_database_url:
        wires.append(Wire("postgres-direct", lambda: postgres(direct)))
    for name, address in (
        ("redis", settings.redis_url),
        ("broker", settings.broker_url),
        ("results", settings.result_backend),
    ):
        if address:
            wires.append(Wire(name, lambda address=address: write_key(address)))  # type: ignore[misc] # a lambda's default
    if llm.configured(settings):
        wires.append(Wire("llm", lambda: completion(settings, client), every_s=LLM_EVERY_S))
    if settings.whisper_url:
        docs = f"{settings.whisper_url}/docs"  # it has no health check of its own (requirements 4.5)
        wires.append(Wire("whisper", lambda: answers(client, docs)))
    if settings.langfuse_url:
        wires.append(Wire("langfuse", lambda: langfuse(settings, client)))
    if settings.backend_url:
        health = f"{settings.backend_url.removesuffix('/api')}/api/health"
        wires.append(Wire("backend", lambda: answers(client, health)))
    for name, instance in settings.ollama_urls.items():
        version = f"{instance}/api/version"
        # Other models answer in its place (requirements 3.3 and 3.4), so its absence is only reported.
        wires.append(
            Wire(f"ollama-{name}", lambda version=version: answers(client, version), required=False)  # type: ignore[misc] # a lambda's default
        )
    return wires


def postgres(url: str) -> None:
    """Log in as the role of the URL to its database, and run one prepared statement twice.

    :raises WireError: no answer, a refusal, or another role or database
    """
    parts = urlsplit(url)
    expected = (unquote(parts.username or ""), unquote(parts.path.removeprefix("/")))
    try:
        with psycopg.connect(url, connect_timeout=TIMEOUT_S, autocommit=True) as connection:
            for number in (20, 21):
                row = connection.execute(
                    "SELECT current_user, current_database(), %s::int * 2", (number,), prepare=True
                ).fetchone()
                if row is None or row[2] != number * 2:
                    raise WireError("a prepared statement has another result")
                if row[:2] != expected:
                    raise WireError(f"is {row[1]} as {row[0]}, not {expected[1]} as {expected[0]}")
    except psycopg.Error as error:
        raise WireError(str(error).strip().splitlines()[-1] if str(error).strip() else "no answer") from None


def write_key(url: str) -> None:
    """Write a key to the index of the URL, and read it back. The key expires.

    :raises WireError: no answer, or a refusal
    """
    value = secrets.token_hex(8)
    key = f"scaffold:wire:{socket.gethostname()}:{value}"  # two wires may lead to one index
    try:
        with redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, decode_responses=True
        ) as connection:
            connection.set(key, value, ex=KEY_EXPIRES_S)
            if connection.get(key) != value:
                raise WireError("the written key is missing")
    except redis.RedisError as error:
        raise WireError(str(error) or "no answer") from None


def completion(settings: Settings, client: httpx.Client) -> None:
    """:raises WireError: no provider completes a prompt"""
    try:
        llm.complete(client, settings, "Answer with one word: ready?", max_tokens=8)
    except llm.LlmError as error:
        raise WireError(str(error)) from None


def answers(client: httpx.Client, url: str) -> None:
    """:raises WireError: the URL does not answer with success"""
    try:
        client.get(url, timeout=TIMEOUT_S).raise_for_status()
    except httpx.HTTPError as error:
        raise WireError(llm.failure(error)) from None


def langfuse(settings: Settings, client: httpx.Client) -> None:
    """:raises WireError: Langfuse does not know the keys"""
    try:
        client.get(
            f"{settings.langfuse_url}/api/public/projects",
            auth=(settings.langfuse_public_key, settings.langfuse_secret_key),
            timeout=TIMEOUT_S,
        ).raise_for_status()
    except httpx.HTTPError as error:
        raise WireError(llm.failure(error)) from None

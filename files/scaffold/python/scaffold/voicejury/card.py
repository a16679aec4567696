"""The card that Ollama Light and the audio models share in turns (requirements 4.2)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import httpx

from ..llm import failure
from ..settings import Settings

UNLOADED_WITHIN_S = 30.0
POLL_S = 0.5
TIMEOUT_S = 20  # of one request


class CardError(RuntimeError):
    """There is no card, or it is not free."""


def visible_cards(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Full UUIDs of the cards that Docker gave to this container.

    :raises CardError: it has no card
    """
    devices = environment.get("NVIDIA_VISIBLE_DEVICES", "")
    cards = [] if devices in ("", "void", "none") else devices.split(",")
    if not cards:
        raise CardError("this container has no card")
    return cards


def unload(
    client: httpx.Client,
    settings: Settings,
    *,
    within_s: float = UNLOADED_WITHIN_S,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Make Ollama free the card's memory, and wait for that. It loads the model again with the next request.

    An Ollama that does not run has no memory of the card: there is no answer, or 502 in its place.

    :param within_s: seconds that this may take
    :return: seconds that it took
    :raises CardError: the model is still loaded, or Ollama answers with an error
    """
    url, model = settings.ollama_url, settings.ollama_model
    if not url or not model:
        raise CardError("OLLAMA_HOST and OLLAMA_MODEL must be set")
    started = time.monotonic()
    try:
        answer = client.post(f"{url}/api/generate", json={"model": model, "keep_alive": 0}, timeout=TIMEOUT_S)
        if answer.status_code == httpx.codes.BAD_GATEWAY:
            return time.monotonic() - started
        answer.raise_for_status()
        while True:
            loaded = client.get(f"{url}/api/ps", timeout=TIMEOUT_S).raise_for_status().json()["models"]
            if all(entry["name"] != model for entry in loaded):
                return time.monotonic() - started
            if time.monotonic() - started > within_s:
                raise CardError(f"{model} is still loaded after {within_s:.0f} s")
            sleep(POLL_S)
    except httpx.ConnectError:
        return time.monotonic() - started
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise CardError(f"ollama: {failure(error)}") from None

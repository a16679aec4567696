"""Transcription of a recording, in three tiers (requirements 7.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from ..llm import failure
from ..settings import Settings

GROQ_MODEL = "whisper-large-v3-turbo"
GROQ_TIMEOUT_S = 60
LANGUAGE = "fr"


class TranscriptionError(RuntimeError):
    """No tier transcribed. The message has their failures."""


@dataclass(frozen=True)
class Transcription:
    """The text, its tier (`shared-whisper`, `groq`), and the failures of the tiers before.

    :param words: each with its text, start and end in seconds, if the tier returns them
    """

    text: str
    tier: str
    words: list[dict[str, object]]
    failures: tuple[str, ...]


class _NextTier(Exception):  # noqa: N818 - no error: it selects the next tier
    """This tier cannot transcribe; the next may."""


def transcribe(client: httpx.Client, settings: Settings, audio: bytes) -> Transcription:
    """Transcribe by shared-whisper, else by Groq. A model in the container is off by default, and here is none.

    A server that fails or exceeds its time leads to the next tier. One that refuses the recording does not.

    :param audio: a WAV file
    :raises TranscriptionError: no tier could, or the recording was refused
    """
    failures: list[str] = []
    for name, tier in (("shared-whisper", _shared), ("groq", _groq)):
        try:
            text, words = tier(client, settings, audio)
            return Transcription(text, name, words, tuple(failures))
        except _NextTier as reason:
            failures.append(f"{name}: {reason}")
    failures.append(
        "local: the scaffold has no model"
        if settings.whisper_local
        else "local: WHISPER_LOCAL_FALLBACK is false"
    )
    raise TranscriptionError("; ".join(failures))


def _shared(client: httpx.Client, settings: Settings, audio: bytes) -> tuple[str, list[dict[str, object]]]:
    if not settings.whisper_url:
        raise _NextTier("SHARED_WHISPER_URL is not set")
    content = _post(
        client,
        f"{settings.whisper_url}/asr",
        settings.whisper_timeout_s,
        params={"task": "transcribe", "language": LANGUAGE, "output": "json", "word_timestamps": "true"},
        files={"audio_file": ("audio.wav", audio, "audio/wav")},
    )
    segments = content.get("segments")
    words = [word for segment in segments or [] for word in segment.get("words") or []]
    return str(content["text"]).strip(), words


def _groq(client: httpx.Client, settings: Settings, audio: bytes) -> tuple[str, list[dict[str, object]]]:
    if not settings.groq_api_key:
        raise _NextTier("GROQ_API_KEY is not set")
    content = _post(
        client,
        f"{settings.groq_url}/audio/transcriptions",
        GROQ_TIMEOUT_S,
        headers={"Authorization": f"Bearer {settings.groq_api_key}"},
        data={"model": GROQ_MODEL, "language": LANGUAGE, "response_format": "verbose_json"},
        files={"file": ("audio.wav", audio, "audio/wav")},
    )
    return str(content["text"]).strip(), list(content.get("words") or [])


def _post(client: httpx.Client, url: str, timeout_s: float, **request: Any) -> dict[str, Any]:
    try:
        answer = client.post(url, timeout=timeout_s, **request)
        if 400 <= answer.status_code < 500 and answer.status_code not in (401, 403, 404, 408, 429):
            raise TranscriptionError(f"the recording is refused: HTTP {answer.status_code}")
        content = answer.raise_for_status().json()
        if not isinstance(content, dict) or "text" not in content:
            raise ValueError
        return content
    except (httpx.HTTPError, ValueError) as error:
        raise _NextTier(failure(error)) from None

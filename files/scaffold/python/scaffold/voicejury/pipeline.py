"""The six steps of an analysis (requirements 7.2). The models themselves (Demucs, CREPE) are the owner's code."""

from __future__ import annotations

import asyncio
import io
import os
import time
import wave
from base64 import b64decode
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar
from urllib.parse import quote

import httpx

from ..llm import failure
from ..settings import Settings, read
from . import card, jury, tracing
from .cache import Cache, Lyrics
from .transcription import LANGUAGE, transcribe

NAME = "tasks.pipeline.analyze_performance"
GENIUS = "https://api.genius.com/search"
GENIUS_TIMEOUT_S = 5
_Result = TypeVar("_Result")


def job(
    session_id: str, track: str, video: str, score: float = 60.0, audio: str | None = None
) -> dict[str, object]:
    """Analyse one performance with the container's settings.

    :param session_id: session of the singer
    :param track: id of the song at Spotify
    :param video: id of the performance at YouTube
    :param score: result of the audio models, 0 to 100
    :param audio: a WAV file in base64; a second of silence without it
    """
    settings = read(os.environ)
    with httpx.Client() as client:
        return analyze(
            client, settings, session_id, track, video, score, b64decode(audio) if audio else silence()
        )


def analyze(
    client: httpx.Client,
    settings: Settings,
    session_id: str,
    track: str,
    video: str,
    score: float,
    audio: bytes,
) -> dict[str, object]:
    """Run the steps. Returns each with its duration and result.

    :raises CardError, TranscriptionError: a step without an alternative failed
    """
    steps: list[dict[str, object]] = []

    def step(name: str, work: Callable[[], _Result], show: Callable[[_Result], object]) -> _Result:
        started = time.monotonic()
        result = work()
        steps.append({"step": name, "seconds": round(time.monotonic() - started, 3), "found": show(result)})
        return result

    if not settings.database_url:
        raise RuntimeError("DATABASE_URL is not set")
    cache = Cache(settings.database_url)
    step("0 card", card.visible_cards, lambda cards: cards)
    step("0 unload Ollama Light", lambda: card.unload(client, settings), lambda seconds: round(seconds, 3))
    # 1 to 3, Demucs and CREPE, run here, on the card that is free now.
    cached = step("1-3 words known", lambda: cache.words(track, video), lambda words: words is not None)
    transcription = step(
        "4 transcription",
        lambda: transcribe(client, settings, audio),
        lambda transcription: transcription.tier,
    )
    if cached is None:
        cache.store_words(track, video, transcription.words, LANGUAGE)
    step("5 lyrics", lambda: lyrics(client, settings, cache, track), lambda result: result)
    comments = step(
        "6 jury",
        lambda: asyncio.run(_comments(settings, score)),
        lambda comments: [comment.tier for comment in comments],
    )
    trace = tracing.trace(
        client, settings, {"session_id": session_id, "youtube_id": video, "has_gpu": True}, comments
    )
    return {
        "steps": steps,
        "transcription": asdict(transcription),
        "jury": [asdict(comment) for comment in comments],
        "verdict": jury.verdict([comment.vote for comment in comments]),
        "trace": trace,
    }


def lyrics(client: httpx.Client, settings: Settings, cache: Cache, track: str) -> str:
    """Look the lyrics up: `cached`, `found`, `not_found`, or the failure of Genius."""
    if cache.lyrics(track):
        return "cached"
    if not settings.genius_token:
        return "GENIUS_API_TOKEN is not set"
    try:
        answer = client.get(
            f"{GENIUS}?q={quote(track)}",
            headers={"Authorization": f"Bearer {settings.genius_token}"},
            timeout=GENIUS_TIMEOUT_S,
        )
        hits = answer.raise_for_status().json()["response"]["hits"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return failure(error)  # nothing is known, so nothing is cached
    kind = "unsynced" if hits else "not_found"
    cache.store_lyrics(track, Lyrics(str(hits[0]["result"]["title"]) if hits else None, kind, "genius"))
    return "found" if hits else "not_found"


def silence(seconds: int = 1, rate: int = 16_000) -> bytes:
    """A WAV file of silence."""
    content = io.BytesIO()
    with wave.open(content, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(rate)
        recording.writeframes(bytes(2 * rate * seconds))
    return content.getvalue()


async def _comments(settings: Settings, score: float) -> list[jury.Comment]:
    async with httpx.AsyncClient() as client:
        return await jury.comments(client, settings, score)

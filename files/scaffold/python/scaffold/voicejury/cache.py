"""The project's cache in its own tables (requirements 5.2). Each row expires with the validity of its kind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

CONNECT_S = 5
LYRICS_VALIDITY = {
    "synced": timedelta(days=365),
    "unsynced": timedelta(days=90),
    "not_found": timedelta(days=7),
}
WORDS_VALIDITY = timedelta(days=90)  # of a transcription by whisper


@dataclass(frozen=True)
class Lyrics:
    """A song's lyrics, or that there are none (`sync_type` "not_found")."""

    text: str | None
    sync_type: str
    source: str


class Cache:
    """The tables, through PgBouncer. An expired row counts as missing, and is replaced."""

    def __init__(self, url: str) -> None:
        self._url = url

    def lyrics(self, track: str) -> Lyrics | None:
        """The cached lyrics of a track."""
        row = self._one(
            "SELECT lyrics_text, sync_type, source FROM lyrics_cache"
            " WHERE spotify_track_id = %s AND (expires_at IS NULL OR expires_at > now())",
            (track,),
        )
        return Lyrics(*row) if row else None

    def store_lyrics(self, track: str, lyrics: Lyrics) -> None:
        """Cache lyrics for the validity of their kind."""
        self._execute(
            "INSERT INTO lyrics_cache (spotify_track_id, lyrics_text, sync_type, source, expires_at)"
            " VALUES (%s, %s, %s, %s, now() + %s)"
            " ON CONFLICT (spotify_track_id) DO UPDATE SET lyrics_text = EXCLUDED.lyrics_text,"
            " sync_type = EXCLUDED.sync_type, source = EXCLUDED.source, expires_at = EXCLUDED.expires_at",
            (track, lyrics.text, lyrics.sync_type, lyrics.source, LYRICS_VALIDITY[lyrics.sync_type]),
        )

    def words(self, track: str, video: str) -> list[dict[str, object]] | None:
        """The words of a recording, with their times."""
        row = self._one(
            "SELECT words FROM word_timestamps_cache WHERE spotify_track_id = %s AND youtube_video_id = %s"
            " AND (expires_at IS NULL OR expires_at > now())",
            (track, video),
        )
        return list(row[0]) if row else None

    def store_words(self, track: str, video: str, words: list[dict[str, object]], language: str) -> None:
        """Cache a transcription by whisper. A corrected one stays as it is."""
        self._execute(
            "INSERT INTO word_timestamps_cache"
            " (spotify_track_id, youtube_video_id, words, source, language, expires_at)"
            " VALUES (%s, %s, %s, 'whisper', %s, now() + %s)"
            " ON CONFLICT (spotify_track_id, youtube_video_id) DO UPDATE SET words = EXCLUDED.words,"
            " source = EXCLUDED.source, language = EXCLUDED.language, expires_at = EXCLUDED.expires_at"
            " WHERE word_timestamps_cache.source <> 'user_corrected'",
            (track, video, Jsonb(words), language, WORDS_VALIDITY),
        )

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        with psycopg.connect(self._url, connect_timeout=CONNECT_S, autocommit=True) as connection:
            return connection.execute(query, values).fetchone()

    def _execute(self, query: str, values: tuple[object, ...]) -> None:
        with psycopg.connect(self._url, connect_timeout=CONNECT_S, autocommit=True) as connection:
            connection.execute(query, values)

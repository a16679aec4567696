"""The project's cache in its own tables (requirements 5.2): each row lasts as long as its kind is valid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

CONNECT_S = 5
LYRICS_KEPT = {
    "synced": timedelta(days=365),
    "unsynced": timedelta(days=90),
    "not_found": timedelta(days=7),
}
WORDS_KEPT = timedelta(days=90)  # of what whisper heard


@dataclass(frozen=True)
class Lyrics:
    """A song's lyrics, or that there are none (`sync_type` "not_found")."""

    text: str | None
    sync_type: str
    source: str


class Cache:
    """The tables, through PgBouncer; a row past its time is not there, and is replaced."""

    def __init__(self, url: str) -> None:
        self._url = url

    def lyrics(self, track: str) -> Lyrics | None:
        """What is known of a track's lyrics."""
        row = self._one(
            "SELECT lyrics_text, sync_type, source FROM lyrics_cache"
            " WHERE spotify_track_id = %s AND (expires_at IS NULL OR expires_at > now())",
            (track,),
        )
        return Lyrics(*row) if row else None

    def keep_lyrics(self, track: str, lyrics: Lyrics) -> None:
        """Keep them as long as their kind is good."""
        self._execute(
            "INSERT INTO lyrics_cache (spotify_track_id, lyrics_text, sync_type, source, expires_at)"
            " VALUES (%s, %s, %s, %s, now() + %s)"
            " ON CONFLICT (spotify_track_id) DO UPDATE SET lyrics_text = EXCLUDED.lyrics_text,"
            " sync_type = EXCLUDED.sync_type, source = EXCLUDED.source, expires_at = EXCLUDED.expires_at",
            (track, lyrics.text, lyrics.sync_type, lyrics.source, LYRICS_KEPT[lyrics.sync_type]),
        )

    def words(self, track: str, video: str) -> list[dict[str, object]] | None:
        """The words of a recording, with their times."""
        row = self._one(
            "SELECT words FROM word_timestamps_cache WHERE spotify_track_id = %s AND youtube_video_id = %s"
            " AND (expires_at IS NULL OR expires_at > now())",
            (track, video),
        )
        return list(row[0]) if row else None

    def keep_words(self, track: str, video: str, words: list[dict[str, object]], language: str) -> None:
        """Keep what whisper heard; what a person corrected stays as it is."""
        self._execute(
            "INSERT INTO word_timestamps_cache"
            " (spotify_track_id, youtube_video_id, words, source, language, expires_at)"
            " VALUES (%s, %s, %s, 'whisper', %s, now() + %s)"
            " ON CONFLICT (spotify_track_id, youtube_video_id) DO UPDATE SET words = EXCLUDED.words,"
            " source = EXCLUDED.source, language = EXCLUDED.language, expires_at = EXCLUDED.expires_at"
            " WHERE word_timestamps_cache.source <> 'user_corrected'",
            (track, video, Jsonb(words), language, WORDS_KEPT),
        )

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        with psycopg.connect(self._url, connect_timeout=CONNECT_S, autocommit=True) as connection:
            return connection.execute(query, values).fetchone()

    def _execute(self, query: str, values: tuple[object, ...]) -> None:
        with psycopg.connect(self._url, connect_timeout=CONNECT_S, autocommit=True) as connection:
            connection.execute(query, values)

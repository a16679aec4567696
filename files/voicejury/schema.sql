-- Schema of voicejury_db (requirements 5.2), as the API makes it when it finds none. Idempotent.
-- Sessions and the history of searches are kept in Redis.

-- Lyrics. They expire after 365 days when synced, 90 when not, 7 when none were found.
CREATE TABLE IF NOT EXISTS lyrics_cache (
    id SERIAL PRIMARY KEY,
    spotify_track_id VARCHAR(64) NOT NULL UNIQUE,
    lyrics_text TEXT,
    synced_lines JSONB,
    sync_type VARCHAR(16) NOT NULL CHECK (sync_type IN ('synced', 'unsynced', 'not_found')),
    source VARCHAR(32),
    source_url TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL,
    CHECK (expires_at > created_at),
    CHECK (sync_type <> 'synced' OR synced_lines IS NOT NULL)
);
CREATE INDEX IF NOT EXISTS idx_lyrics_cache_expires ON lyrics_cache (expires_at);

-- How far a user moved the lyrics of a track in a video, in seconds.
CREATE TABLE IF NOT EXISTS lyrics_offsets (
    id SERIAL PRIMARY KEY,
    spotify_track_id VARCHAR(64) NOT NULL,
    youtube_video_id VARCHAR(32) NOT NULL,
    offset_seconds NUMERIC(5, 2) NOT NULL DEFAULT 0 CHECK (offset_seconds BETWEEN -300 AND 300),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (spotify_track_id, youtube_video_id)
);

-- When each word is sung. Whisper's expire after 90 days, Musixmatch's after 365, those that a user corrected never.
CREATE TABLE IF NOT EXISTS word_timestamps_cache (
    id SERIAL PRIMARY KEY,
    spotify_track_id VARCHAR(64) NOT NULL,
    youtube_video_id VARCHAR(32) NOT NULL,
    words JSONB NOT NULL,
    lines JSONB,
    source VARCHAR(32) NOT NULL CHECK (source IN ('whisper', 'musixmatch', 'user_corrected')),
    language VARCHAR(8),
    confidence_avg NUMERIC(4, 3) CHECK (confidence_avg BETWEEN 0 AND 1),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ,
    UNIQUE (spotify_track_id, youtube_video_id),
    CHECK ((source = 'user_corrected') = (expires_at IS NULL)),
    CHECK (expires_at > created_at)
);
CREATE INDEX IF NOT EXISTS idx_word_timestamps_expires ON word_timestamps_cache (expires_at);

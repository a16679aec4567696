"""The tables of a project, tried as its application would use them (requirements 5.2, 5.4 and 8.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.services.datastores import POOLER, Datastores

Connection = psycopg.Connection[Any]


@pytest.fixture
def renov(datastores: Datastores) -> Iterator[Connection]:
    """renov-bati's role, through the pooler; nothing that it writes stays."""
    with datastores.connect("renov_bati", "renov_bati", server=POOLER) as connection:
        connection.autocommit = False
        yield connection
        connection.rollback()


@pytest.fixture
def voices(datastores: Datastores) -> Iterator[Connection]:
    """voicejury's, likewise."""
    with datastores.connect("voicejury_db", "voicejury", server=POOLER) as connection:
        connection.autocommit = False
        yield connection
        connection.rollback()


def refused(connection: Connection, error: type[psycopg.Error], statement: str) -> None:
    with pytest.raises(error), connection.transaction():
        connection.execute(statement)


@pytest.mark.checklist("4.1")
def test_what_is_near_is_found_by_its_distance_in_metres(renov: Connection) -> None:
    places = {"Lyon": (4.8357, 45.7640), "Villeurbanne": (4.8794, 45.7719), "Paris": (2.3522, 48.8566)}
    for city, (longitude, latitude) in places.items():
        renov.execute(
            "INSERT INTO target_properties (address, coordinates) VALUES (%s, ST_MakePoint(%s, %s)::geography)",
            (city, longitude, latitude),
        )
    near = renov.execute(
        "SELECT address FROM target_properties, (SELECT ST_MakePoint(4.8357, 45.7640)::geography AS centre) AS lyon"
        " WHERE ST_DWithin(coordinates, centre, 5000) ORDER BY ST_Distance(coordinates, centre)"
    ).fetchall()
    assert near == [("Lyon",), ("Villeurbanne",)]


@pytest.mark.checklist("4.1")
def test_a_similar_product_is_found_through_the_hnsw_index(renov: Connection) -> None:
    for reference, direction in {"north": 0, "east": 1, "north-north-east": None}.items():
        vector = [0.0] * 1536
        for position, value in ((0, 0.9), (1, 0.1)) if direction is None else ((direction, 1.0),):
            vector[position] = value
        renov.execute(
            "INSERT INTO technical_products (brand, model_ref, category, embedding) VALUES ('x', %s, 'SOLAIRE_PV', %s)",
            (reference, str(vector)),
        )
    renov.execute("SET LOCAL enable_seqscan = off")
    north = str([1.0] + [0.0] * 1535)
    query = "SELECT model_ref FROM technical_products ORDER BY embedding <=> %s LIMIT 2"
    assert renov.execute(query, (north,)).fetchall() == [("north",), ("north-north-east",)]
    plan = "\n".join(row[0] for row in renov.execute(f"EXPLAIN {query}", (north,)).fetchall())
    assert "idx_product_embedding" in plan
    options = renov.execute(
        "SELECT reloptions FROM pg_class WHERE relname = 'idx_product_embedding'"
    ).fetchone()
    assert options is not None
    assert set(options[0]) == {"m=16", "ef_construction=128"}


def test_what_makes_no_sense_is_refused(renov: Connection) -> None:
    check, unique = psycopg.errors.CheckViolation, psycopg.errors.UniqueViolation
    refused(renov, check, "INSERT INTO target_properties (address, energy_class) VALUES ('x', 'H')")
    refused(renov, check, "INSERT INTO technical_products (brand, category) VALUES ('x', 'FENETRES')")
    twice = "INSERT INTO artisans (siret, name) VALUES ('12345678901234', 'a'), ('12345678901234', 'b')"
    refused(renov, unique, twice)
    row = "(2026, 'PAC', 'modeste', 5000)"
    refused(
        renov,
        unique,
        f"INSERT INTO aid_schedules (year, work_type, income_bracket, amount_euros) VALUES {row}, {row}",  # noqa: S608
    )
    refused(renov, psycopg.errors.NotNullViolation, "INSERT INTO artisans (siret) VALUES ('1')")


@pytest.mark.checklist("6.2")
def test_words_and_lyrics_expire_as_required(voices: Connection) -> None:
    check, unique = psycopg.errors.CheckViolation, psycopg.errors.UniqueViolation
    lyrics = "INSERT INTO lyrics_cache (spotify_track_id, sync_type, expires_at) VALUES"
    voices.execute(f"{lyrics} ('t1', 'not_found', now() + interval '7 days')")
    refused(voices, unique, f"{lyrics} ('t1', 'unsynced', now() + interval '90 days')")
    refused(voices, check, f"{lyrics} ('t2', 'sometimes', now() + interval '7 days')")
    refused(voices, check, f"{lyrics} ('t2', 'unsynced', now() - interval '1 day')")
    refused(voices, check, f"{lyrics} ('t2', 'synced', now() + interval '365 days')")  # without lines
    refused(
        voices,
        psycopg.errors.NotNullViolation,
        "INSERT INTO lyrics_cache (spotify_track_id, sync_type) VALUES ('t3', 'unsynced')",
    )
    words = "INSERT INTO word_timestamps_cache (spotify_track_id, youtube_video_id, words, source, expires_at) VALUES"
    voices.execute(f"{words} ('t1', 'v1', '[]', 'user_corrected', NULL)")
    voices.execute(f"{words} ('t1', 'v2', '[]', 'whisper', now() + interval '90 days')")
    refused(voices, check, f"{words} ('t1', 'v3', '[]', 'whisper', NULL)")
    refused(voices, unique, f"{words} ('t1', 'v1', '[]', 'user_corrected', NULL)")
    voices.execute(
        "INSERT INTO lyrics_offsets (spotify_track_id, youtube_video_id, offset_seconds) VALUES ('t', 'v', -300)"
    )
    offset = "INSERT INTO lyrics_offsets (spotify_track_id, youtube_video_id, offset_seconds) VALUES ('t', 'w', 300.01)"
    refused(voices, check, offset)


@pytest.mark.checklist("6.2")
def test_tables_belong_to_the_role_of_their_project(datastores: Datastores) -> None:
    for database, role, tables in (
        (
            "renov_bati",
            "renov_bati",
            {"target_properties", "technical_products", "artisans", "aid_schedules"},
        ),
        ("voicejury_db", "voicejury", {"lyrics_cache", "lyrics_offsets", "word_timestamps_cache"}),
    ):
        output = datastores.sql(database, f"SELECT tablename FROM pg_tables WHERE tableowner = '{role}'")  # noqa: S608
        assert set(output.split()) == tables


def test_a_table_that_is_gone_comes_back_and_the_others_keep_their_rows(
    datastores: Datastores, deploy: Any
) -> None:
    datastores.sql(
        "voicejury_db", "INSERT INTO lyrics_offsets (spotify_track_id, youtube_video_id) VALUES ('kept', 'v')"
    )
    try:
        datastores.sql("voicejury_db", "DROP TABLE word_timestamps_cache")
        changed = deploy("--data", "phase=voicejury").changed
        assert changed == ["Phase 6: voicejury | Schema of voicejury_db"]
        assert datastores.sql("voicejury_db", "SELECT count(*) FROM word_timestamps_cache") == "0"
        assert datastores.sql("voicejury_db", "SELECT count(*) FROM lyrics_offsets") == "1"
    finally:
        datastores.sql("voicejury_db", "DELETE FROM lyrics_offsets WHERE spotify_track_id = 'kept'")

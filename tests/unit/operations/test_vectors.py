"""Columns of vectors that an application makes: what is read of them, and what is said of a shortfall."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pyinfra.api.exceptions import FactProcessError

from facts.postgres import Vector, VectorIndex, Vectors
from operations import postgres
from operations.postgres_difference import vector_shortfalls
from specs.postgres import HnswColumn
from tests.unit.hosts import scripted_host

DESIRED = HnswColumn("DocumentChunk", "embedding", 1536, 16, 128)
HNSW = VectorIndex("hnsw", "vector_cosine_ops", frozenset({"m=16", "ef_construction=128"}))
CURRENT = Vector("DocumentChunk", "embedding", 1536, (HNSW,))


def test_the_answer_of_a_database() -> None:
    output = [
        {
            "table": "DocumentChunk",
            "column": "embedding",
            "dimensions": 1536,
            "indexes": [
                {
                    "method": "hnsw",
                    "operators": "vector_cosine_ops",
                    "options": ["m=16", "ef_construction=128"],
                }
            ],
        },
        {"table": "Widget", "column": "embedding", "dimensions": -1, "indexes": []},
    ]
    assert Vectors().process([json.dumps(output)]) == (CURRENT, Vector("Widget", "embedding", -1))
    assert Vectors().process(["[]"]) == Vectors.default() == ()
    with pytest.raises(FactProcessError):
        Vectors().process(["psql: error"])


def shortfalls(*vectors: Vector) -> list[str]:
    return list(vector_shortfalls([DESIRED], vectors))


def test_what_is_as_desired_is_not_reported() -> None:
    assert shortfalls(CURRENT, Vector("Another", "embedding", 3)) == []
    more = VectorIndex("hnsw", "vector_cosine_ops", HNSW.options | {"fillfactor=90"})
    assert shortfalls(replace(CURRENT, indexes=(more,))) == []


def test_what_is_missing_or_otherwise_is_reported() -> None:
    assert shortfalls() == ["DocumentChunk.embedding: found no such column of vectors, expected vector(1536)"]
    assert shortfalls(replace(CURRENT, dimensions=768)) == [
        "DocumentChunk.embedding: found vectors of 768 dimensions, expected 1536"
    ]
    wants = "expected hnsw vector_cosine_ops ef_construction=128, m=16"
    assert shortfalls(replace(CURRENT, indexes=())) == [f"DocumentChunk.embedding: found no index, {wants}"]
    others = (
        replace(HNSW, operators="vector_l2_ops"),
        replace(HNSW, method="ivfflat", options=frozenset({"lists=100"})),
        replace(HNSW, options=frozenset({"m=16"})),
    )
    for other in others:
        (output,) = shortfalls(replace(CURRENT, indexes=(other,)))
        assert f"found {other.method} {other.operators}" in output


def test_it_is_reported_and_nothing_is_made() -> None:
    with scripted_host({Vectors: ()}) as host:
        steps = list(postgres.report_vectors._inner("shared-postgres", "augmenter", [DESIRED]))
    assert steps == []
    assert host.noops == ["reported"]
    assert host.logged == [
        "augmenter: DocumentChunk.embedding: found no such column of vectors, expected vector(1536)"
    ]
    with scripted_host({Vectors: (CURRENT,)}) as host:
        assert list(postgres.report_vectors._inner("shared-postgres", "augmenter", [DESIRED])) == []
    assert (host.noops, host.logged) == (["nothing to report"], [])
    with scripted_host({}, executing=False):
        assert list(postgres.report_vectors._inner("shared-postgres", "augmenter", [DESIRED])) == []

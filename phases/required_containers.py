"""The containers and limits of requirements 2.1 and 2.2, which docs/phases/README.md compares with those declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RequiredLimit:
    """A line of requirements 2.2.

    :param containers: its containers, by their names here
    :param mib: its figure
    :param why: why the limit here is another, where it is
    """

    containers: tuple[str, ...]
    mib: int
    why: str = ""


def _line(name: str, mib: int, why: str = "") -> RequiredLimit:
    return RequiredLimit((name,), mib, why)


REQUIRED: Mapping[str, tuple[RequiredLimit, ...]] = {
    "shared services": (
        _line("shared-postgres", 512),
        _line("pgbouncer", 64),
        _line("shared-redis", 256, "the limit has to be half as much again as maxmemory"),
        _line("litellm-proxy", 512),
        RequiredLimit(("langfuse-web", "langfuse-worker"), 896),
        _line("clickhouse", 512),
        _line("minio", 128),
        _line("crawl4ai", 1536),
        _line("bull-board", 128),
        _line("flower", 128),
        _line("uptime-kuma", 128, "it takes 100 to 160"),
    ),
    "augmenter.PRO": (
        _line("augmenter-backend", 512),
        _line("augmenter-frontend", 384),
        _line("augmenter-worker", 512),
        _line("augmenter-scoring-worker", 768),
        _line("augmenter-curation-worker", 768),
        _line("augmenter-crewai-worker", 1536),
        _line("nango", 384),
        _line("postiz", 1024),
        RequiredLimit(("temporal", "temporal-pg", "temporal-es"), 864),
    ),
    "coach-credit": (
        _line("coach-backend", 384),
        _line("coach-frontend", 256),
        _line("coach-worker", 256),
    ),
    "renov-bati": (
        _line("renov-backend", 512),
        _line("renov-frontend", 384),
        _line("renov-etl-worker", 512),
        _line("renov-crawler-worker", 384),
        _line("renov-scoring-worker", 384),
    ),
    "voicejury": (
        _line("voicejury-api", 512),
        _line("voicejury-worker-heavy", 1024, "requirements 4.2 and 7.1 give it 6G, Demucs runs in it"),
    ),
}

# Why there are containers beside these.
BESIDE = {
    "shared-whisper": "requirements 4.5 starts it with systemd, with --memory 4g; no sum of 2.2 has it",
    "flower-voicejury": "a Flower watches one broker; requirements 12 names this one",
    "flower-renov-bati": "a Flower watches one broker, and renov-bati's is index 5",
    "traefik": "the proxy, where Coolify's does not run",
    "voicejury-worker-pool": "requirements 7.1 has it as optional",
}


def drawn() -> Mapping[str, tuple[str, ...]]:
    """The containers of each part of requirements 2.1."""
    return {
        part: tuple(name for line in lines for name in line.containers) for part, lines in REQUIRED.items()
    }


def differences(limits: Mapping[str, int]) -> Iterator[tuple[RequiredLimit, int]]:
    """Lines whose containers have another limit here, with that limit in MiB.

    :param limits: limit of each declared container, in MiB
    """
    for lines in REQUIRED.values():
        for line in lines:
            here = sum(limits.get(name, 0) for name in line.containers)
            if limits.keys() >= set(line.containers) and here != line.mib:
                yield line, here

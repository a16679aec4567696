"""The sums of the owner's notes as they are written there, added up again and held against what is declared.

2.2 adds up memory, 4.3 adds up cards, 5.3 hands out connections. Each figure is the notes' own, so that a reader who
knows them sees at once where this server is another, and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class MemoryLine:
    """A line of 2.2.

    :param what: as the notes call it
    :param mib: its figure
    :param containers: containers of ours that it stands for; none for what is no container
    :param why: why ours together have another limit, where they have
    """

    what: str
    mib: int
    containers: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class MemorySection:
    """A block of 2.2 with the sum that the notes write under it."""

    title: str
    lines: tuple[MemoryLine, ...]
    stated_mib: int

    @property
    def total_mib(self) -> int:
        """The lines, added up."""
        return sum(line.mib for line in self.lines)


MEMORY = (
    MemorySection(
        "shared services",
        (
            MemoryLine("shared-postgres", 512, ("shared-postgres",)),
            MemoryLine("PgBouncer", 64, ("pgbouncer",)),
            MemoryLine(
                "shared-redis", 256, ("shared-redis",), "the limit has to be half as much again as maxmemory"
            ),
            MemoryLine("LiteLLM Proxy", 512, ("litellm-proxy",)),
            MemoryLine("Langfuse web + worker", 896, ("langfuse-web", "langfuse-worker")),
            MemoryLine("ClickHouse", 512, ("clickhouse",)),
            MemoryLine("MinIO", 128, ("minio",)),
            MemoryLine("Crawl4AI", 1536, ("crawl4ai",)),
            MemoryLine("Bull Board", 128, ("bull-board",)),
            MemoryLine(
                "Flower",
                128,
                ("flower", "flower-voicejury", "flower-renov-bati"),
                "one Flower watches one broker, and there are three",
            ),
            MemoryLine("Uptime Kuma", 128, ("uptime-kuma",), "it takes 100 to 160"),
        ),
        4800,
    ),
    MemorySection(
        "augmenter.PRO",
        (
            MemoryLine("backend", 512, ("augmenter-backend",)),
            MemoryLine("frontend", 384, ("augmenter-frontend",)),
            MemoryLine("worker", 512, ("augmenter-worker",)),
            MemoryLine("scoring-worker", 768, ("augmenter-scoring-worker",)),
            MemoryLine("curation-worker", 768, ("augmenter-curation-worker",)),
            MemoryLine("crewai-worker", 1536, ("augmenter-crewai-worker",)),
            MemoryLine("nango", 384, ("nango",)),
            MemoryLine("postiz", 1024, ("postiz",)),
            MemoryLine(
                "temporal + temporal-pg + temporal-es", 864, ("temporal", "temporal-pg", "temporal-es")
            ),
        ),
        6752,
    ),
    MemorySection(
        "coach-credit",
        (
            MemoryLine("backend", 384, ("coach-backend",)),
            MemoryLine("frontend", 256, ("coach-frontend",)),
            MemoryLine("worker", 256, ("coach-worker",)),
        ),
        896,
    ),
    MemorySection(
        "renov-bati",
        (
            MemoryLine("backend", 512, ("renov-backend",)),
            MemoryLine("frontend", 384, ("renov-frontend",)),
            MemoryLine("etl-worker", 512, ("renov-etl-worker",)),
            MemoryLine("crawler-worker", 384, ("renov-crawler-worker",)),
            MemoryLine("scoring-worker", 384, ("renov-scoring-worker",)),
        ),
        2176,
    ),
    MemorySection(
        "voicejury",
        (
            MemoryLine("api", 512, ("voicejury-api",)),
            MemoryLine(
                "worker-heavy", 1024, ("voicejury-worker-heavy",), "4.2 and 7.1 give it 6G, Demucs runs in it"
            ),
        ),
        1536,
    ),
    MemorySection(
        "system",
        (
            MemoryLine("system, Docker engine, Coolify", 2000),
            MemoryLine("buffers of five Ollama instances", 500),
        ),
        2500,
    ),
)
MEMORY_STATED_MIB = 18660

# After the upgrade, in GB: the memory, and what 2.2 says is left of it.
UPGRADED, UPGRADED_MARGIN_STATED = Decimal("28"), Decimal("9.5")


@dataclass(frozen=True)
class CardLine:
    """A card of 4.3, in GB.

    :param uuid: prefix of the card's UUID
    :param parts: what is on it, each with its figure
    :param margin: what the notes say is left
    """

    uuid: str
    size: Decimal
    parts: Mapping[str, Decimal]
    margin: Decimal

    @property
    def used(self) -> Decimal:
        """The parts, added up."""
        return sum(self.parts.values(), Decimal())

    @property
    def left(self) -> Decimal:
        """What is left by the notes' own figures."""
        return self.size - self.used


CARDS = (
    CardLine("GPU-85c38fae", Decimal(8), {"qwen3:4b": Decimal("4.1")}, Decimal("3.0")),
    CardLine("GPU-85c38fae", Decimal(8), {"Demucs + CREPE": Decimal("5.0")}, Decimal("3.0")),
    CardLine("GPU-bdb1f5e4", Decimal(10), {"qwen3:8b": Decimal("5.2")}, Decimal("4.8")),
    CardLine("GPU-c99d136d", Decimal(8), {"qwen2.5vl:7b": Decimal("5.9")}, Decimal("2.1")),
    CardLine("GPU-b57ff866", Decimal(8), {"deepseek-r1:7b": Decimal("4.7")}, Decimal("3.3")),
    CardLine(
        "GPU-d4fb9c68",
        Decimal(8),
        {"llama3.1:8b": Decimal("4.9"), "whisper": Decimal("0.5")},
        Decimal("2.6"),
    ),
)
CARDS_STATED = Decimal("25.4")
CARDS_SIZE_STATED = Decimal("42")

# Of 5.3: databases that PgBouncer has there, and connections that each may have.
POOLED, POOL = ("augmenter", "voicejury_db", "coach_credit", "renov_bati", "litellm"), 30
MAX_CONNECTIONS = 100  # Postgres' own default, which the notes leave

# The note under 2.1 wants this many containers; it draws these, here by the names that they have with us.
CONTAINERS_STATED = 36
CONTAINERS_DRAWN = {
    "shared services": (
        "shared-postgres",
        "shared-redis",
        "litellm-proxy",
        "pgbouncer",
        "crawl4ai",
        "langfuse-web",
        "langfuse-worker",
        "clickhouse",
        "minio",
        "bull-board",
        "flower",
        "uptime-kuma",
    ),
    "augmenter.PRO": (
        "augmenter-backend",
        "augmenter-frontend",
        "augmenter-worker",
        "augmenter-scoring-worker",
        "augmenter-curation-worker",
        "augmenter-crewai-worker",
        "nango",
        "postiz",
        "temporal",
        "temporal-pg",
        "temporal-es",
    ),
    "coach-credit": ("coach-backend", "coach-frontend", "coach-worker"),
    "renov-bati": (
        "renov-backend",
        "renov-frontend",
        "renov-etl-worker",
        "renov-crawler-worker",
        "renov-scoring-worker",
    ),
    "voicejury": ("voicejury-api", "voicejury-worker-heavy"),
}

# What runs beside these, and why.
CONTAINERS_BESIDE = {
    "shared-whisper": "4.5 starts it with systemd, with --memory 4g; no sum of the notes has it",
    "flower-voicejury": "a Flower watches one broker; 12 names this one",
    "flower-renov-bati": "a Flower watches one broker, and renov-bati's is index 5",
    "traefik": "the proxy, where Coolify's does not run",
    "voicejury-worker-pool": "7.1 has it as optional",
}


def errors() -> Iterator[str]:
    """Where a sum of the notes is another than its parts, or leaves something out: one sentence each."""
    for section in MEMORY:
        if section.total_mib != section.stated_mib:
            yield f"2.2 {section.title}: {section.stated_mib}M is written, the lines are {section.total_mib}M"
    total = sum(section.total_mib for section in MEMORY)
    if total != MEMORY_STATED_MIB:
        yield f"2.2 total: {MEMORY_STATED_MIB}M is written, the lines are {total}M"
    yield (
        f"2.2 worker-heavy: 1G is added up, 4.2 and 7.1 give it 6G; shared-whisper's 4G (4.5) is in no line. With both"
        f" the limits are {total + 5 * 1024 + 4 * 1024}M and not {total}M"
    )
    counts = [len(names) for names in CONTAINERS_DRAWN.values()]
    drawn = sum(counts)
    if drawn != CONTAINERS_STATED:
        parts = " + ".join(map(str, counts))
        yield (
            f"2.1 containers: {CONTAINERS_STATED} is written, {parts} are {drawn}, and {drawn + 1} with"
            " shared-whisper"
        )
    margin = round(UPGRADED - Decimal(total) / 1024, 1)
    if margin != UPGRADED_MARGIN_STATED:
        yield (
            f"2.2 after the upgrade: {UPGRADED_MARGIN_STATED} GB is written as what is left of {UPGRADED},"
            f" {UPGRADED} - {total}M is {margin}"
        )
    yield from _card_errors()
    asked = len(POOLED) * POOL
    if asked >= MAX_CONNECTIONS:
        yield (
            f"5.3 pools: {len(POOLED)} databases x {POOL} connections are {asked}, Postgres accepts"
            f" {MAX_CONNECTIONS}; 2.2 says 200 clients of PgBouncer and 5.3 says 300"
        )


def _card_errors() -> Iterator[str]:
    for card in CARDS:
        if card.left != card.margin:
            what = " + ".join(card.parts)
            yield (
                f"4.3 {card.uuid} with {what}: {card.margin} GB is written as what is left,"
                f" {card.size} - {card.used} is {card.left}"
            )
    resident = [card for card in CARDS if "Demucs + CREPE" not in card.parts]
    size = sum((card.size for card in resident), Decimal())
    if size != CARDS_SIZE_STATED:
        yield f"4.3 total: {CARDS_SIZE_STATED} GB of cards is written, they are {size}"
    used = sum((card.used for card in resident), Decimal())
    if used != CARDS_STATED:
        parts = " + ".join(str(card.used) for card in resident)
        yield f"4.3 total: {CARDS_STATED} GB is written, {parts} are {used}"
    yield (
        "4.3 everywhere: weights only; the KV cache, which grows with context and requests at once, and"
        " OLLAMA_GPU_OVERHEAD are left out, and whisper is counted as medium where large-v3-turbo is wanted"
    )


def memory_differences(limits: Mapping[str, int]) -> dict[MemoryLine, int]:
    """Lines of 2.2 whose containers have another limit here, with that limit in MiB.

    :param limits: limit of each declared container, in MiB
    """
    return {
        line: declared
        for section in MEMORY
        for line in section.lines
        if line.containers
        and all(name in limits for name in line.containers)
        and (declared := sum(limits[name] for name in line.containers)) != line.mib
    }

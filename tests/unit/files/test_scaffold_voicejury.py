"""voicejury's worker: the card, who transcribes, who comments, what is kept, and a job of Celery's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest
from celery.contrib.testing.worker import start_worker
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from files.scaffold.python.scaffold import jobs
from files.scaffold.python.scaffold.llm import GROQ_MODEL
from files.scaffold.python.scaffold.settings import Settings
from files.scaffold.python.scaffold.voicejury import card, jury, pipeline, tracing
from files.scaffold.python.scaffold.voicejury.cache import Lyrics
from files.scaffold.python.scaffold.voicejury.transcription import TranscriptionError, transcribe
from tests.unit.served import serving

WORDS = [{"word": " la", "start": 0.0, "end": 0.5}]


class World:
    """LiteLLM, Ollama Light, Groq, shared-whisper and Langfuse on one port.

    :ivar statuses: of those that do not answer as they should
    :ivar loaded: whether Ollama has its model in the card's memory
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As it is before a test."""
        self.statuses: dict[str, int] = {}
        self.requests: list[str] = []
        self.bodies: dict[str, Any] = {}
        self.loaded, self.yields_gpu, self.silent = True, True, False
        self.whisper_takes_s = 0

    def application(self) -> Starlette:
        def post(path: str, name: str, answer: Any) -> Route:
            async def serve(request: Request) -> JSONResponse:
                body = await request.body()
                self.requests.append(name)
                if body.startswith(b"{"):
                    self.bodies[name] = json.loads(body)
                if name == "whisper":
                    await asyncio.sleep(self.whisper_takes_s)
                if name in self.statuses:
                    return JSONResponse({}, status_code=self.statuses[name])
                return JSONResponse(answer(self.bodies.get(name)))

            return Route(path, serve, methods=["POST"])

        def loaded(_: Request) -> JSONResponse:
            return JSONResponse({"models": [{"name": "qwen3:4b"}] if self.loaded else []})

        heard = {"text": " la ", "segments": [{"words": WORDS}]}
        return Starlette(
            routes=[
                post("/litellm/chat/completions", "litellm", self._chat),
                post("/groq/chat/completions", "groq", self._chat),
                post("/groq/audio/transcriptions", "groq-audio", lambda _: {"text": "la", "words": WORDS}),
                post("/whisper/asr", "whisper", lambda _: heard),
                post("/ollama/api/generate", "ollama", self._generate),
                Route("/ollama/api/ps", loaded),
                post("/langfuse/api/public/ingestion", "langfuse", lambda _: {"successes": [], "errors": []}),
            ]
        )

    def _chat(self, body: Mapping[str, Any]) -> Any:
        text = "<think>so</think>" if self.silent else "Bravo."
        return {"model": f"groq/{body['model']}", "choices": [{"message": {"content": text}}]}

    def _generate(self, body: Mapping[str, Any]) -> Any:
        if body.get("keep_alive") == 0:
            self.loaded = not self.yields_gpu
            return {"done": True}
        return {"response": "Pas mal."}


@pytest.fixture(scope="module")
def served_world() -> Iterator[tuple[World, httpx.Client, Settings]]:
    fake = World()
    with serving(fake.application()) as client:
        base = str(client.base_url).rstrip("/")
        settings = Settings(
            database_url="postgresql://voicejury:x@pgbouncer:6432/voicejury_db",
            litellm_url=f"{base}/litellm",
            litellm_api_key="sk-voicejury",
            ollama_url=f"{base}/ollama",
            ollama_model="qwen3:4b",
            groq_url=f"{base}/groq",
            groq_api_key="gsk-1",
            whisper_url=f"{base}/whisper",
            langfuse_url=f"{base}/langfuse",
            langfuse_public_key="pk",
            langfuse_secret_key="sk",  # noqa: S106 - of this test
        )
        yield fake, client, settings


@pytest.fixture
def world(served_world: tuple[World, httpx.Client, Settings]) -> tuple[World, httpx.Client, Settings]:
    served_world[0].reset()
    return served_world


# --- the card


@pytest.mark.parametrize("devices", ["", "void", "none"])
def test_a_container_without_a_card(devices: str) -> None:
    with pytest.raises(card.CardError, match="no card"):
        card.visible_cards({"NVIDIA_VISIBLE_DEVICES": devices})
    assert card.visible_cards({"NVIDIA_VISIBLE_DEVICES": "GPU-1,GPU-2"}) == ["GPU-1", "GPU-2"]


@pytest.mark.checklist("6.7")
def test_ollama_gives_the_card_back(world: tuple[World, httpx.Client, Settings]) -> None:
    fake, client, settings = world
    card.unload(client, settings)
    assert fake.loaded is False
    assert fake.bodies["ollama"] == {"model": "qwen3:4b", "keep_alive": 0}


def test_a_model_that_stays_is_waited_for_and_reported(world: tuple[World, httpx.Client, Settings]) -> None:
    fake, client, settings = world
    fake.yields_gpu = False
    slept: list[float] = []
    with pytest.raises(card.CardError, match="qwen3:4b is still loaded"):
        card.unload(client, settings, within_s=0.2, sleep=slept.append)
    assert slept
    fake.statuses = {"ollama": 500}
    with pytest.raises(card.CardError, match="ollama: HTTP 500"):
        card.unload(client, settings)


def test_an_ollama_that_does_not_run_holds_nothing(world: tuple[World, httpx.Client, Settings]) -> None:
    fake, client, settings = world
    card.unload(client, replace(settings, ollama_url="http://127.0.0.1:1"))
    fake.statuses = {"ollama": 502}  # what stands before it answers in its place
    fake.yields_gpu = False
    card.unload(client, settings, within_s=0.2)


# --- transcription, tier by tier


@pytest.mark.parametrize("status", [500, 503, 404])
def test_groq_transcribes_where_whisper_fails(
    world: tuple[World, httpx.Client, Settings], status: int
) -> None:
    fake, client, settings = world
    heard = transcribe(client, settings, pipeline.silence())
    assert (heard.text, heard.tier, heard.words, heard.failures) == ("la", "shared-whisper", WORDS, ())
    fake.statuses = {"whisper": status}
    heard = transcribe(client, settings, pipeline.silence())
    assert (heard.text, heard.tier, heard.words) == ("la", "groq", WORDS)
    assert heard.failures == (f"shared-whisper: HTTP {status}",)


def test_a_whisper_that_takes_too_long_or_is_away_is_left(
    world: tuple[World, httpx.Client, Settings],
) -> None:
    fake, client, settings = world
    fake.whisper_takes_s = 3
    heard = transcribe(client, replace(settings, whisper_timeout_s=1), pipeline.silence())
    assert (heard.tier, heard.failures) == ("groq", ("shared-whisper: no answer in time",))
    heard = transcribe(client, replace(settings, whisper_url="http://127.0.0.1:1"), pipeline.silence())
    assert (heard.tier, heard.failures) == ("groq", ("shared-whisper: ConnectError",))


def test_nobody_transcribes(world: tuple[World, httpx.Client, Settings]) -> None:
    fake, client, settings = world
    fake.statuses = {"whisper": 500, "groq-audio": 429}
    with pytest.raises(TranscriptionError) as refused:
        transcribe(client, settings, pipeline.silence())
    assert str(refused.value) == (
        "shared-whisper: HTTP 500; groq: HTTP 429; local: WHISPER_LOCAL_FALLBACK is false"
    )
    with pytest.raises(TranscriptionError, match="the scaffold has no model"):
        transcribe(client, replace(settings, whisper_local=True), pipeline.silence())


def test_a_recording_that_is_refused_goes_to_nobody_else(
    world: tuple[World, httpx.Client, Settings],
) -> None:
    fake, client, settings = world
    fake.statuses = {"whisper": 422}
    with pytest.raises(TranscriptionError, match="recording is refused: HTTP 422"):
        transcribe(client, settings, b"no sound")
    assert fake.requests == ["whisper"]


# --- the jury, tier by tier


def comments(settings: Settings, score: float) -> list[jury.Comment]:
    async def ask() -> list[jury.Comment]:
        async with httpx.AsyncClient() as client:
            return await jury.comments(client, settings, score)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("provider", "statuses", "tier", "failures"),
    [
        ("litellm", {}, "litellm", ()),
        ("litellm", {"litellm": 503}, "ollama", ("litellm: HTTP 503",)),
        ("litellm", {"litellm": 401, "ollama": 500}, "heuristic", ("litellm: HTTP 401", "ollama: HTTP 500")),
        ("ollama", {"litellm": 503}, "ollama", ()),
        ("ollama", {"ollama": 500}, "groq", ("ollama: HTTP 500",)),
        ("ollama", {"ollama": 500, "groq": 429}, "heuristic", ("ollama: HTTP 500", "groq: HTTP 429")),
    ],
)
def test_the_first_tier_that_answers_comments(
    world: tuple[World, httpx.Client, Settings],
    provider: str,
    statuses: dict[str, int],
    tier: str,
    failures: tuple[str, ...],
) -> None:
    fake, _, settings = world
    fake.statuses = statuses
    found = comments(replace(settings, llm_provider=provider), 55)
    assert [comment.persona for comment in found] == ["Le Cassant", "L'Encourageant", "Le Technique"]
    assert {(comment.tier, comment.failures) for comment in found} == {(tier, failures)}
    assert all(comment.text for comment in found)


def test_the_gateway_is_asked_as_required(world: tuple[World, httpx.Client, Settings]) -> None:
    fake, _, settings = world
    comments(settings, 55)
    body = fake.bodies["litellm"]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("jury-comment", 300, 0.8)
    assert body["metadata"] == {"tags": ["project:voicejury", "task:jury"]}
    fake.statuses = {"ollama": 500}
    comments(replace(settings, llm_provider="ollama"), 55)
    assert fake.bodies["groq"]["model"] == GROQ_MODEL
    assert "metadata" not in fake.bodies["groq"], "Groq refuses what it does not know"


def test_silence_is_a_failure(world: tuple[World, httpx.Client, Settings]) -> None:
    fake, _, settings = world
    fake.silent = True
    assert {comment.failures for comment in comments(settings, 55)} == {("litellm: an empty answer",)}


@pytest.mark.parametrize(
    ("score", "votes", "verdict"),
    [
        (95, ["OUI", "OUI", "OUI"], "OUI"),
        (75, ["PEUT-ETRE", "OUI", "OUI"], "OUI"),
        (55, ["PEUT-ETRE", "PEUT-ETRE", "PEUT-ETRE"], "PEUT-ETRE"),
        (47, ["NON", "PEUT-ETRE", "PEUT-ETRE"], "PEUT-ETRE"),
        (40, ["NON", "PEUT-ETRE", "NON"], "NON"),
        (10, ["NON", "NON", "NON"], "NON"),
    ],
)
def test_each_votes_and_most_of_them_decide(score: float, votes: list[str], verdict: str) -> None:
    assert [persona.vote(score) for persona in jury.PERSONAS] == votes
    assert jury.verdict(votes) == verdict
    assert len({persona.heuristic(score) for persona in jury.PERSONAS}) == 3


def test_three_opinions_are_none() -> None:
    assert jury.verdict(["OUI", "NON", "PEUT-ETRE"]) == "PEUT-ETRE"


# --- the trace


def test_a_trace_with_a_generation_for_each(world: tuple[World, httpx.Client, Settings]) -> None:
    fake, client, settings = world
    number = tracing.trace(client, settings, {"session_id": "s"}, comments(settings, 55))
    events = fake.bodies["langfuse"]["batch"]
    assert [event["type"] for event in events] == ["trace-create", *["generation-create"] * 3]
    assert events[0]["body"]["id"] == number
    assert {event["body"]["traceId"] for event in events[1:]} == {number}
    assert [event["body"]["name"] for event in events[1:]] == [
        *("jury-comment-le-cassant", "jury-comment-l-encourageant", "jury-comment-le-technique")
    ]
    fake.statuses = {"langfuse": 500}
    assert tracing.trace(client, settings, {}, []) is None, "a lost trace never costs an analysis"
    assert tracing.trace(client, replace(settings, langfuse_url=None), {}, []) is None


# --- the pipeline


class Kept:
    """The tables, in memory."""

    def __init__(self, _: str) -> None:
        self.known: dict[str, Lyrics] = {}
        self.heard: dict[tuple[str, str], list[dict[str, object]]] = {}

    def lyrics(self, track: str) -> Lyrics | None:
        return self.known.get(track)

    def store_lyrics(self, track: str, lyrics: Lyrics) -> None:
        self.known[track] = lyrics

    def words(self, track: str, video: str) -> list[dict[str, object]] | None:
        return self.heard.get((track, video))

    def store_words(self, track: str, video: str, words: list[dict[str, object]], language: str) -> None:
        assert language == "fr"
        self.heard[track, video] = words


@pytest.mark.checklist("6.5")
def test_the_six_steps(world: tuple[World, httpx.Client, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    _, client, settings = world
    cache = Kept("")
    monkeypatch.setattr(pipeline, "Cache", lambda url: cache)
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e")

    def analyze() -> dict[str, Any]:
        return pipeline.analyze(client, settings, "s", "track", "video", 75, pipeline.silence())

    found = analyze()
    steps = {step["step"]: step["found"] for step in found["steps"]}
    assert list(steps) == [
        *("0 card", "0 unload Ollama Light", "1-3 words known"),
        *("4 transcription", "5 lyrics", "6 jury"),
    ]
    assert (steps["0 card"], steps["1-3 words known"]) == (
        ["GPU-85c38fae-1bcf-d15b-4f36-e1f581acd76e"],
        False,
    )
    assert (steps["4 transcription"], steps["6 jury"]) == ("shared-whisper", ["litellm"] * 3)
    assert (found["verdict"], cache.heard) == ("OUI", {("track", "video"): WORDS})
    assert found["trace"]
    assert {step["step"]: step["found"] for step in analyze()["steps"]}["1-3 words known"] is True
    assert json.dumps(found), "a result that Celery can keep"


def test_lyrics_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hits: list[dict[str, Any]] = []

    def search(request: Request) -> JSONResponse:
        known = request.headers["Authorization"] == "Bearer genius"
        return JSONResponse({"response": {"hits": hits}}, status_code=200 if known else 401)

    cache: Any = Kept("")
    with serving(Starlette(routes=[Route("/search", search)])) as client:
        monkeypatch.setattr(pipeline, "GENIUS", f"{client.base_url}/search")
        settings = Settings(genius_token="genius")  # noqa: S106 - of this test
        assert pipeline.lyrics(client, Settings(), cache, "a") == "GENIUS_API_TOKEN is not set"
        assert pipeline.lyrics(client, replace(settings, genius_token="x"), cache, "a") == "HTTP 401"  # noqa: S106
        assert cache.known == {}, "a failure is not kept"
        assert pipeline.lyrics(client, settings, cache, "a") == "not_found"
        hits.append({"result": {"title": "La mer"}})
        assert pipeline.lyrics(client, settings, cache, "a") == "cached"
        assert pipeline.lyrics(client, settings, cache, "b") == "found"
    assert cache.known["b"] == Lyrics("La mer", "unsynced", "genius")


# --- Celery


def test_a_job_is_done_and_its_result_kept() -> None:
    app = jobs.application(Settings(queues=("etl",), concurrency=2))
    app.conf.update(broker_url="memory://", result_backend="cache+memory://")
    assert {"scaffold.ping", pipeline.NAME} <= set(app.tasks)
    assert (app.conf.task_acks_late, app.conf.result_expires, app.conf.task_default_queue) == (
        True,
        3600,
        "etl",
    )
    with start_worker(app, pool="threads", perform_ping_check=False, queues=["etl"]):
        result = app.send_task("scaffold.ping", kwargs={"value": "hello"}, queue="etl").get(timeout=20)
    assert result["value"] == "hello"

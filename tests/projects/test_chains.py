"""voicejury's chains, tier by tier: who comments (requirements 7.4), who transcribes (7.6), what is cached and traced.

Every analysis is a job of Celery's, done by the worker with the card.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from blueprint import Secrets
from group_data.gpu import ollama_instances, whisper
from group_data.shared import gateway
from group_data.voicejury import voicejury
from lab.machine import Machine
from lab.upstream import traffic
from tests.host.conftest import await_true
from tests.projects.conftest import Job, job_of

WORKER = "voicejury-worker-heavy"
ANALYZE = ("--queue", "gpu-heavy", "--timeout", "120", "tasks.pipeline.analyze_performance")
GROQ = "api.groq.com"
LIGHT = next(instance for instance in ollama_instances if instance.name == "light")
STEPS = [
    *("0 card", "0 unload Ollama Light", "1-3 words known"),
    *("4 transcription", "5 lyrics", "6 jury"),
]


def performance(**changed: Any) -> str:
    """Arguments of an analysis; each is of a song of its own."""
    song = secrets.token_hex(8)
    return json.dumps({"session_id": "test", "track": song, "video": song, "score": 75, **changed})


def found(answer: dict[str, Any]) -> dict[str, Any]:
    """What each step found."""
    return {step["step"]: step["found"] for step in answer["result"]["steps"]}


@pytest.mark.checklist("6.5")
def test_an_analysis_goes_through_all_six_steps(machine: Machine, job: Job) -> None:
    answer = job(WORKER, *ANALYZE, performance())
    steps = found(answer)
    assert list(steps) == STEPS
    # The engine sets the card in the environment of the container's own process only.
    environment = machine.run(f"docker exec {WORKER} cat /proc/1/environ").stdout.split("\0")
    assert f"NVIDIA_VISIBLE_DEVICES={','.join(steps['0 card'])}" in environment
    assert steps["4 transcription"] == "shared-whisper"
    assert steps["6 jury"] == ["litellm"] * 3
    assert [comment["persona"] for comment in answer["result"]["jury"]] == [
        *("Le Cassant", "L'Encourageant", "Le Technique")
    ]
    assert all("qwen3-32b" in comment["model"] for comment in answer["result"]["jury"])
    assert answer["result"]["verdict"] == "OUI"


def test_words_are_known_the_second_time_until_they_expire(machine: Machine, job: Job) -> None:
    song = performance()
    known = [found(job(WORKER, *ANALYZE, song))["1-3 words known"] for _ in range(2)]
    assert known == [False, True]
    expire = (
        "UPDATE word_timestamps_cache SET created_at = now() - interval '91 days',"
        " expires_at = now() - interval '1 day' WHERE spotify_track_id = :'track'"
    )
    track = json.loads(song)["track"]
    psql = f"docker exec -i shared-postgres psql -XqAt -U postgres -v track={track} voicejury_db"
    machine.run(f'echo "{expire}" | {psql}')
    known = [found(job(WORKER, *ANALYZE, song))["1-3 words known"] for _ in range(2)]
    assert known == [False, True]


@pytest.mark.checklist("1.7", "6.6")
def test_the_trace_of_an_analysis_is_in_langfuse(
    machine: Machine, job: Job, forward: Callable[[str, int], int]
) -> None:
    number = job(WORKER, *ANALYZE, performance())["result"]["trace"]
    network = "{{.NetworkSettings.Networks.coolify.IPAddress}}"
    address = machine.run(f"docker inspect --format '{network}' langfuse-web").stdout.strip()
    kept = Secrets.open("lab")
    keys = (kept.provided(voicejury.trace_keys.public), kept.provided(voicejury.trace_keys.secret))
    url = f"http://127.0.0.1:{forward(address, 3000)}/api/public/traces/{number}"

    def trace() -> dict[str, Any]:
        answer = httpx.get(url, auth=keys, timeout=30, trust_env=False)
        content = answer.json() if answer.status_code == 200 else {}
        assert isinstance(content, dict)
        return content

    await_true(lambda: len(trace().get("observations", [])) == 3, 300, "the trace with three generations")
    assert trace()["name"] == "voicejury.analyze_performance"
    assert {each["name"] for each in trace()["observations"]} == {
        *("jury-comment-le-cassant", "jury-comment-l-encourageant", "jury-comment-le-technique")
    }


# --- who comments


@pytest.mark.parametrize(
    ("containers", "units", "tier", "failures"),
    [
        ((gateway.container,), (), "ollama", 1),
        ((gateway.container,), (LIGHT.unit,), "heuristic", 2),
    ],
    ids=["without-the-gateway", "without-ollama-light-as-well"],
)
def test_the_next_tier_comments(
    job: Job,
    broken: Callable[..., None],
    containers: tuple[str, ...],
    units: tuple[str, ...],
    tier: str,
    failures: int,
) -> None:
    broken(containers=containers, units=units)
    answer = job(WORKER, *ANALYZE, performance())
    jury = answer["result"]["jury"]
    assert {comment["tier"] for comment in jury} == {tier}
    assert {len(comment["failures"]) for comment in jury} == {failures}
    assert len({comment["text"] for comment in jury}) == 3


# --- who transcribes


def test_groq_transcribes_while_whisper_is_away(job: Job, broken: Callable[..., None]) -> None:
    broken(units=(whisper.unit,))
    heard = job(WORKER, *ANALYZE, performance())["result"]["transcription"]
    assert heard["tier"] == "groq"
    assert heard["text"]
    assert [failure.partition(":")[0] for failure in heard["failures"]] == ["shared-whisper"]


def test_nobody_else_transcribes(machine: Machine, broken: Callable[..., None]) -> None:
    """The worker has no model of its own unless WHISPER_LOCAL_FALLBACK says so: the job fails, and says who did."""
    broken(units=(whisper.unit,))
    traffic.disturb(machine.lab, GROQ, status=503)
    done = job_of(machine, WORKER, *ANALYZE, performance())
    assert done.returncode == 1
    for part in (
        "TranscriptionError",
        "shared-whisper:",
        "groq: HTTP 503",
        "WHISPER_LOCAL_FALLBACK is false",
    ):
        assert part in done.stderr

"""Three jurors comment on a performance in parallel, each by the first tier that answers (requirements 7.4)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from ..llm import GROQ_MODEL, failure, without_thoughts
from ..settings import Settings

MAX_TOKENS, TEMPERATURE = 300, 0.8
LITELLM_TIMEOUT_S, OLLAMA_TIMEOUT_S, GROQ_TIMEOUT_S = 15.0, 20.0, 15.0
YES, MAYBE, NO = "OUI", "PEUT-ETRE", "NON"


@dataclass(frozen=True)
class Persona:
    """A juror.

    :param manner: its description in the prompt
    :param yes: score from which it votes yes, 0 to 100
    :param maybe: score from which it is undecided
    :param low: its own comment below `maybe`, when no tier answers
    :param fair: its own comment below `yes`
    :param high: its own comment from `yes` on
    """

    name: str
    manner: str
    yes: int
    maybe: int
    low: str
    fair: str
    high: str

    def vote(self, score: float) -> str:
        """Its vote for a score."""
        return YES if score >= self.yes else MAYBE if score >= self.maybe else NO

    def heuristic(self, score: float) -> str:
        """Its own comment, without a model."""
        return {YES: self.high, MAYBE: self.fair, NO: self.low}[self.vote(score)]


PERSONAS = (
    Persona(
        "Le Cassant",
        "un critique sévère et exigeant, à l'humour mordant",
        yes=80,
        maybe=50,
        low="Aïe. La justesse a dû rester chez vous ; retournez la chercher.",
        fair="On a reconnu la chanson. C'est un début, pas encore un compliment.",
        high="Je cherchais de quoi me plaindre. Je n'ai rien trouvé, et cela m'agace.",
    ),
    Persona(
        "L'Encourageant",
        "un juré bienveillant qui encourage les progrès",
        yes=60,
        maybe=30,
        low="Vous avez osé, c'est le plus dur. La suite se travaille !",
        fair="De belles choses déjà, et une vraie envie. Continuez !",
        high="Quelle sensibilité ! On vous écouterait jusqu'au bout de la nuit.",
    ),
    Persona(
        "Le Technique",
        "un analyste objectif au vocabulaire musical précis",
        yes=70,
        maybe=45,
        low="Justesse insuffisante et rythme instable : reprenez phrase par phrase.",
        fair="Placement correct ; les attaques et les tenues restent à stabiliser.",
        high="Intonation sûre, phrasé tenu, dynamique maîtrisée.",
    ),
)


@dataclass(frozen=True)
class Comment:
    """The comment of a juror.

    :param tier: its author: `litellm`, `ollama`, `groq` or `heuristic`
    :param seconds: duration, with the failures
    :param failures: failures of the tiers before
    """

    persona: str
    text: str
    vote: str
    tier: str
    model: str
    seconds: float
    failures: tuple[str, ...]


class TierError(RuntimeError):
    """This tier did not answer. The message has the reason, without a secret."""


Tier = Callable[[httpx.AsyncClient, Settings, str], Awaitable[tuple[str, str]]]


async def comments(client: httpx.AsyncClient, settings: Settings, score: float) -> list[Comment]:
    """The comments of all three, requested in parallel.

    :param score: 0 to 100
    """
    return list(await asyncio.gather(*(comment(client, settings, each, score) for each in PERSONAS)))


def verdict(votes: list[str]) -> str:
    """The vote of the majority; undecided if all three differ."""
    (vote, count), *_ = Counter(votes).most_common()
    return vote if count > 1 else MAYBE


async def comment(client: httpx.AsyncClient, settings: Settings, persona: Persona, score: float) -> Comment:
    """The comment of one juror: by the gateway's model, else by Ollama Light's, else its own.

    With LLM_PROVIDER=ollama the gateway is left out, and Groq itself follows Ollama (requirements 3.8).
    """
    tiers: tuple[tuple[str, Tier], ...] = (
        (("litellm", _litellm), ("ollama", _ollama))
        if settings.llm_provider == "litellm"
        else (("ollama", _ollama), ("groq", _groq))
    )
    prompt = (
        f"Tu es {persona.name}, {persona.manner}, juré d'un concours de chant. "
        f"La prestation a obtenu {score:.0f} sur 100. Commente-la en deux phrases."
    )
    started = time.monotonic()
    failures: list[str] = []
    for name, tier in tiers:
        try:
            text, model = await tier(client, settings, prompt)
            break
        except TierError as error:
            failures.append(f"{name}: {error}")
    else:
        name, text, model = "heuristic", persona.heuristic(score), "heuristic"
    seconds = time.monotonic() - started
    return Comment(persona.name, text, persona.vote(score), name, model, seconds, tuple(failures))


async def _litellm(client: httpx.AsyncClient, settings: Settings, prompt: str) -> tuple[str, str]:
    if not settings.litellm_url:
        raise TierError("LITELLM_HOST is not set")
    return await _chat(
        client,
        settings.litellm_url,
        settings.litellm_api_key,
        settings.jury_model,
        prompt,
        LITELLM_TIMEOUT_S,
    )


async def _groq(client: httpx.AsyncClient, settings: Settings, prompt: str) -> tuple[str, str]:
    if not settings.groq_api_key:
        raise TierError("GROQ_API_KEY is not set")
    return await _chat(client, settings.groq_url, settings.groq_api_key, GROQ_MODEL, prompt, GROQ_TIMEOUT_S)


async def _chat(
    client: httpx.AsyncClient, url: str, key: str, model: str, prompt: str, timeout_s: float
) -> tuple[str, str]:
    content = await _post(
        client,
        f"{url}/chat/completions",
        timeout_s,
        {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": MAX_TOKENS,
            "temperature": TEMPERATURE,
            "metadata": {"tags": ["project:voicejury", "task:jury"]},
        }
        if model != GROQ_MODEL
        else {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": MAX_TOKENS,
            "temperature": TEMPERATURE,
        },
        {"Authorization": f"Bearer {key}"},
    )
    try:
        text = content["choices"][0]["message"]["content"]  # type: ignore[index] # checked by what is caught
    except (KeyError, IndexError, TypeError):
        raise TierError("an answer in another format") from None
    return _comment_text(text), str(content.get("model", model))


async def _ollama(client: httpx.AsyncClient, settings: Settings, prompt: str) -> tuple[str, str]:
    if not settings.ollama_url or not settings.ollama_model:
        raise TierError("OLLAMA_HOST and OLLAMA_MODEL are not set")
    options = {"temperature": TEMPERATURE, "top_p": 0.9, "num_predict": MAX_TOKENS}
    content = await _post(
        client,
        f"{settings.ollama_url}/api/generate",
        OLLAMA_TIMEOUT_S,
        {"model": settings.ollama_model, "prompt": prompt, "stream": False, "options": options},
    )
    return _comment_text(content.get("response")), settings.ollama_model


async def _post(
    client: httpx.AsyncClient,
    url: str,
    timeout_s: float,
    body: dict[str, object],
    headers: dict[str, str] | None = None,
) -> dict[str, object]:
    try:
        answer = await client.post(url, json=body, headers=headers, timeout=timeout_s)
        content = answer.raise_for_status().json()
        if not isinstance(content, dict):
            raise ValueError
        return content
    except (httpx.HTTPError, ValueError) as error:
        raise TierError(failure(error)) from None


def _comment_text(text: object) -> str:
    """The text of a comment. An empty one is a failure of the tier."""
    comment = without_thoughts(text) if isinstance(text, str) else ""
    if not comment:
        raise TierError("an empty answer")
    return comment

"""Completions: the gateway with the project's key, or Ollama itself with Groq behind it (LLM_PROVIDER)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

from .settings import Settings

ALIAS = "cheap"  # the gateway's name for a model of our own
GROQ_MODEL = "llama-3.1-8b-instant"
TIMEOUT_S = 60
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)


class LlmError(RuntimeError):
    """No provider answered. The message has their failures, without answers, which may have a key."""


@dataclass(frozen=True)
class Completion:
    """An answer, its provider (`litellm`, `ollama`, `groq`) and its model."""

    text: str
    provider: str
    model: str


def complete(client: httpx.Client, settings: Settings, prompt: str, *, max_tokens: int = 64) -> Completion:
    """Complete a prompt through the gateway or around it, as in the rollback of requirements 3.8.

    :raises LlmError: no provider answered
    """
    if settings.llm_provider == "litellm":
        if not settings.litellm_url:
            raise LlmError("LITELLM_URL is not set")
        return _chat(
            client,
            "litellm",
            settings.litellm_url,
            settings.litellm_api_key,
            {"model": ALIAS, "messages": _user(prompt), "max_tokens": max_tokens},
        )
    failures = []
    for provider in (_ollama, _groq):
        try:
            return provider(client, settings, prompt, max_tokens)
        except LlmError as error:
            failures.append(str(error))
    raise LlmError("; ".join(failures))


def configured(settings: Settings) -> bool:
    """Whether a provider is configured."""
    return bool(settings.litellm_url if settings.llm_provider == "litellm" else settings.ollama_url)


def without_thoughts(text: str) -> str:
    """An answer without the thoughts that some models put before it."""
    return _THOUGHTS.sub("", text).strip()


def _ollama(client: httpx.Client, settings: Settings, prompt: str, max_tokens: int) -> Completion:
    url = settings.ollama_url
    model = settings.ollama_model
    try:
        if model is None:
            tags = client.get(f"{url}/api/tags", timeout=TIMEOUT_S)
            models = [entry["name"] for entry in tags.raise_for_status().json()["models"]]
            if not models:
                raise LlmError("ollama: has no model")
            model = str(models[0])
        answer = client.post(
            f"{url}/api/generate",
            json={"model": model, "prompt": prompt, "stream": False, "options": {"num_predict": max_tokens}},
            timeout=TIMEOUT_S,
        )
        return Completion(without_thoughts(answer.raise_for_status().json()["response"]), "ollama", model)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise LlmError(f"ollama: {failure(error)}") from None


def _groq(client: httpx.Client, settings: Settings, prompt: str, max_tokens: int) -> Completion:
    if not settings.groq_api_key:
        raise LlmError("groq: GROQ_API_KEY is not set")
    body = {"model": GROQ_MODEL, "messages": _user(prompt), "max_tokens": max_tokens}
    return _chat(client, "groq", settings.groq_url, settings.groq_api_key, body)


def _chat(client: httpx.Client, provider: str, url: str, key: str, body: dict[str, object]) -> Completion:
    try:
        answer = client.post(
            f"{url}/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            json=body,
            timeout=TIMEOUT_S,
        )
        content = answer.raise_for_status().json()
        text = content["choices"][0]["message"]["content"] or ""
        return Completion(without_thoughts(text), provider, str(content.get("model", body["model"])))
    except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
        raise LlmError(f"{provider}: {failure(error)}") from None


def _user(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def failure(error: Exception) -> str:
    """The failure of a request, in words without a secret."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.HTTPError):
        return type(error).__name__
    return "an answer in another format"

"""The settings of a container from its environment, read once and checked completely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

GROQ = "https://api.groq.com/openai/v1"
OLLAMA_PREFIX, OLLAMA_SUFFIX = "OLLAMA_", "_URL"


class SettingsError(ValueError):
    """All problems of an environment, one line each, without values, which may be secret."""


@dataclass(frozen=True)
class Settings:
    """The wires of one container. The container lacks those that are None or empty.

    :param port: port for HTTP
    :param database_url: through PgBouncer
    :param direct_database_url: Postgres itself, for migrations
    :param redis_url: with the index of this project
    :param broker_url: Celery's, with its index
    :param result_backend: Celery's, with its index
    :param queues: queues that a Celery worker consumes
    :param concurrency: jobs that it works on in parallel
    :param llm_provider: first provider: the gateway ("litellm") or Ollama itself ("ollama")
    :param jury_model: alias of the model for comments
    :param ollama_urls: further instances by name ("heavy"), which are only reported
    :param whisper_timeout_s: seconds that a transcription may take
    :param whisper_local: whether to load an own model when no server transcribes
    :param backend_url: the backend of this frontend
    """

    port: int = 3000
    database_url: str | None = None
    direct_database_url: str | None = None
    redis_url: str | None = None
    broker_url: str | None = None
    result_backend: str | None = None
    queues: tuple[str, ...] = ()
    concurrency: int = 1
    llm_provider: str = "litellm"
    litellm_url: str | None = None
    litellm_api_key: str = ""
    jury_model: str = "jury-comment"
    ollama_url: str | None = None
    ollama_model: str | None = None
    ollama_urls: Mapping[str, str] = field(default_factory=dict)
    groq_url: str = GROQ
    groq_api_key: str = ""
    whisper_url: str | None = None
    whisper_timeout_s: int = 120
    whisper_local: bool = False
    langfuse_url: str | None = None
    langfuse_public_key: str = ""
    langfuse_secret_key: str = ""
    genius_token: str = ""
    backend_url: str | None = None


def read(environment: Mapping[str, str]) -> Settings:
    """The settings of an environment. Where projects use two names for one thing, it accepts both.

    :raises SettingsError: a value is missing or invalid
    """
    values = {name: value.strip() for name, value in environment.items() if value.strip()}
    problems: list[str] = []

    def url(*names: str, schemes: tuple[str, ...] = ("http", "https")) -> str | None:
        for name in names:
            if value := values.get(name):
                parts = urlsplit(value)
                if parts.scheme not in schemes or not parts.hostname:
                    problems.append(f"{name}: must be a URL, {schemes[0]}://HOST…")
                return value.rstrip("/")
        return None

    def number(name: str, default: int) -> int:
        value = values.get(name, str(default))
        if value.isdecimal() and int(value) > 0:
            return int(value)
        problems.append(f"{name}: must be a number above 0")
        return default

    def needs(what: str | None, of: str, *names: str) -> str:
        present = [values[name] for name in names if name in values]
        if what and not present:
            problems.append(f"{' or '.join(names)}: must be set, because {of} is")
        return present[0] if present else ""

    postgres, redis = ("postgresql", "postgres"), ("redis", "rediss")
    litellm = url("LITELLM_URL", "LITELLM_HOST")
    langfuse = url("LANGFUSE_HOST", "LANGFUSE_BASE_URL")
    provider = values.get("LLM_PROVIDER", "litellm")
    ollama = url("OLLAMA_HOST")
    if provider not in ("litellm", "ollama"):
        problems.append("LLM_PROVIDER: must be litellm or ollama")
    elif provider == "ollama" and not ollama:
        problems.append("OLLAMA_HOST: must be set, because LLM_PROVIDER is ollama")
    queues = tuple(name.strip() for name in values.get("CELERY_QUEUES", "").split(",") if name.strip())
    broker = url("CELERY_BROKER_URL", schemes=redis)
    if queues and not broker:
        problems.append("CELERY_BROKER_URL: must be set, because CELERY_QUEUES is")
    settings = Settings(
        port=number("PORT", 3000),
        database_url=url("DATABASE_URL", schemes=postgres),
        direct_database_url=url("DIRECT_DATABASE_URL", schemes=postgres),
        redis_url=url("REDIS_URL", schemes=redis),
        broker_url=broker,
        result_backend=url("CELERY_RESULT_BACKEND", schemes=redis),
        queues=queues,
        concurrency=number("CELERY_CONCURRENCY", 1),
        llm_provider=provider,
        litellm_url=litellm,
        litellm_api_key=needs(litellm, "the gateway's address", "LITELLM_API_KEY"),
        jury_model=values.get("LITELLM_JURY_MODEL", Settings.jury_model),
        ollama_url=ollama,
        ollama_model=values.get("OLLAMA_MODEL"),
        ollama_urls={
            name.removeprefix(OLLAMA_PREFIX).removesuffix(OLLAMA_SUFFIX).lower(): value
            for name in sorted(values)
            if name.startswith(OLLAMA_PREFIX) and name.endswith(OLLAMA_SUFFIX) and (value := url(name))
        },
        groq_url=url("GROQ_BASE_URL") or GROQ,
        groq_api_key=values.get("GROQ_API_KEY", ""),
        whisper_url=url("WHISPER_URL", "SHARED_WHISPER_URL"),
        whisper_timeout_s=number("SHARED_WHISPER_TIMEOUT", 120),
        whisper_local=values.get("WHISPER_LOCAL_FALLBACK", "false").lower() == "true",
        langfuse_url=langfuse,
        langfuse_public_key=needs(langfuse, "Langfuse's address", "LANGFUSE_PUBLIC_KEY"),
        langfuse_secret_key=needs(langfuse, "Langfuse's address", "LANGFUSE_SECRET_KEY"),
        genius_token=values.get("GENIUS_API_TOKEN", ""),
        backend_url=url("BACKEND_URL"),
    )
    if problems:
        raise SettingsError("\n".join(problems))
    return settings

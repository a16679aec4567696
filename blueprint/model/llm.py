"""The LLM gateway: models, routes between them, and the teams that pay for them (requirements 3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from blueprint.model.declaration import Declaration, checking

_ROUTE = re.compile(r"[a-z0-9][a-z0-9._-]*")
_PROVIDER_MODEL = re.compile(r"[a-z]+(/[A-Za-z0-9._:-]+)+")
_DURATION = re.compile(r"[1-9][0-9]*[smhd]")
_PATH = re.compile(r"(/[a-z0-9_]+)+")
_ROUTE_WANTED = "lower-case letters, digits and ._-"

STRATEGIES = frozenset({"least-busy", "simple-shuffle", "latency-based-routing", "usage-based-routing-v2"})


@dataclass(frozen=True, kw_only=True)
class Provider(Declaration):
    """Somebody who runs models for money.

    :param name: first part of the names of its models in LiteLLM, "groq"
    :param key_variable: environment variable with its key, as LiteLLM knows it
    :param key_secret: the secret with its key, which the provider issued
    """

    name: str
    key_variable: str
    key_secret: str


PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(name="groq", key_variable="GROQ_API_KEY", key_secret="groq/api_key"),  # noqa: S106 - a secret's name
        Provider(name="openai", key_variable="OPENAI_API_KEY", key_secret="openai/api_key"),  # noqa: S106
        Provider(name="gemini", key_variable="GEMINI_API_KEY", key_secret="gemini/api_key"),  # noqa: S106
    )
}


@dataclass(frozen=True, kw_only=True)
class Model(Declaration):
    """A model under the name that callers ask for. It is run by one of our Ollama instances or by a provider.

    :param name: what callers ask for
    :param instance: `OllamaInstance.name`; which model that is, and at which address, follows
    :param model: a provider's model as LiteLLM names it, "groq/llama-3.1-8b-instant"
    :param rpm: requests a minute
    :param tpm: tokens a minute, or None for no limit
    :param timeout_s: seconds that an answer may take
    :param is_embedding: it makes embeddings; the others chat
    :param supports_reasoning: it thinks before it answers, which Ollama streams apart from the answer
    """

    name: str
    instance: str = ""
    model: str = ""
    rpm: int
    tpm: int | None = None
    timeout_s: int
    is_embedding: bool = False
    supports_reasoning: bool = False

    def __post_init__(self) -> None:
        with checking(f"Model {self.name}") as check:
            check.matches("name", self.name, _ROUTE, _ROUTE_WANTED)
            check.that(
                bool(self.instance) != bool(self.model),
                "instance",
                self.instance,
                "given, or else model: one of the two runs it",
            )
            if self.instance:
                check.name("instance", self.instance)
            if self.model:
                check.matches("model", self.model, _PROVIDER_MODEL, "provider/model, such as openai/gpt-4o")
                check.one_of("model", self.model.partition("/")[0], PROVIDERS)
            check.integer("rpm", self.rpm, 1, 1_000_000, "requests a minute")
            if self.tpm is not None:
                check.integer("tpm", self.tpm, 1, 1_000_000_000, "tokens a minute")
            check.integer("timeout_s", self.timeout_s, 1, 3600, "seconds")

    @property
    def provider(self) -> Provider | None:
        """Who runs it; None for us."""
        return PROVIDERS[self.model.partition("/")[0]] if self.model else None


@dataclass(frozen=True, kw_only=True)
class RouterSettings(Declaration):
    """How LiteLLM goes about failures.

    :param strategy: how it chooses among deployments of one model
    :param num_retries: attempts after the first
    :param allowed_fails: failures of a model within `cooldown_s`; the next one takes it out
    :param cooldown_s: seconds that it is left out
    :param retry_after_s: seconds between attempts, at least
    """

    strategy: str
    num_retries: int
    allowed_fails: int
    cooldown_s: int
    retry_after_s: int

    def __post_init__(self) -> None:
        with checking("gateway.router") as check:
            check.one_of("strategy", self.strategy, STRATEGIES)
            check.integer("num_retries", self.num_retries, 0, 10)
            check.integer("allowed_fails", self.allowed_fails, 1, 1000)
            check.integer("cooldown_s", self.cooldown_s, 1, 86400, "seconds")
            check.integer("retry_after_s", self.retry_after_s, 0, 600, "seconds")


@dataclass(frozen=True, kw_only=True)
class ResponseCache(Declaration):
    """Where answers are kept that a caller wants kept; without its asking none is (requirements 3.6).

    :param host: name of the Redis container
    :param port: its port
    :param user: its ACL user
    :param database: its index
    :param ttl_s: seconds that an answer is kept at most, and where the caller does not say how long
    :param namespace: what all keys begin with
    """

    host: str
    port: int
    user: str
    database: int
    ttl_s: int
    namespace: str

    def __post_init__(self) -> None:
        with checking("gateway.cache") as check:
            check.name("host", self.host)
            check.port("port", self.port)
            check.name("user", self.user)
            check.integer("database", self.database, 0, 1023, "a Redis index")
            check.integer("ttl_s", self.ttl_s, 1, 86400, "seconds")
            check.name("namespace", self.namespace)


@dataclass(frozen=True, kw_only=True)
class Gateway(Declaration):
    """What LiteLLM routes, and how (requirements 3.3).

    :param container: its name
    :param port: where it listens in the container, for the other containers
    :param domain_port: where it listens for the proxy of its public domain
    :param domain_admin_routes: routes of administration, "/key/generate", that the dashboard and the master key may use
        through the domain as well; without any, administration is for the master key inside
    :param models: every model
    :param fallbacks: by a model's name the models that are asked when it fails, in this order
    :param aliases: other names, by what they stand for; an alias has the fallbacks of its model
    :param router: how failures are gone about
    :param cache: where answers are kept
    :param administrators: users that a person made on its page, by id or address, and that may do what they may; a run
        names all others that administer it or spend without a budget
    """

    container: str
    port: int
    domain_port: int
    domain_admin_routes: tuple[str, ...] = ()
    models: tuple[Model, ...]
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    router: RouterSettings
    cache: ResponseCache
    administrators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        with checking("gateway") as check:
            check.name("container", self.container)
            check.port("port", self.port)
            check.port("domain_port", self.domain_port)
            check.that(self.domain_port != self.port, "domain_port", self.domain_port, "another than port")
            for route in self.domain_admin_routes:
                check.matches("domain_admin_routes", route, _PATH, "paths such as /key/generate")
            for alias in self.aliases:
                check.matches(f"aliases[{alias!r}]", alias, _ROUTE, _ROUTE_WANTED)

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that a caller can ask for."""
        return (*(model.name for model in self.models), *self.aliases)

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Who runs at least one of the models."""
        return tuple(dict.fromkeys(model.provider for model in self.models if model.provider))


@dataclass(frozen=True, kw_only=True)
class Team(Declaration):
    """Whose calls are counted together, with one virtual key (requirements 3.2). The key's value is a secret.

    :param name: its id in LiteLLM; the secret with its key is litellm/keys/<name>
    :param alias: how it is shown, where that is another name
    :param key_alias: how its key is shown
    :param budget_usd: dollars that it may spend in `budget_duration`
    :param budget_duration: after which the count begins anew, "30d"
    :param models: models and aliases that it may ask for; none means all
    """

    name: str
    alias: str = ""
    key_alias: str
    budget_usd: float
    budget_duration: str = "30d"
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        with checking(f"Team {self.name}") as check:
            check.name("name", self.name)
            check.name("alias", self.shown_as)
            check.name("key_alias", self.key_alias)
            amount = isinstance(self.budget_usd, int | float) and not isinstance(self.budget_usd, bool)
            check.that(
                amount and 0 < self.budget_usd <= 1_000_000, "budget_usd", self.budget_usd, "dollars above 0"
            )
            check.matches("budget_duration", self.budget_duration, _DURATION, 'a duration such as "30d"')

    @property
    def shown_as(self) -> str:
        return self.alias or self.name

    @property
    def key_secret(self) -> str:
        """The secret with the value of its key."""
        return f"litellm/keys/{self.name}"

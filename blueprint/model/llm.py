"""The LLM gateway: models, routes between them, and the teams that pay for them (requirements 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Annotated, Literal

from blueprint.model import types
from blueprint.model.declaration import Conflict, Declaration, conflicts, declaration
from blueprint.problems import closest
from blueprint.validation import Whole


@declaration()
class Provider(Declaration):
    """A company that runs models for money.

    :param name: first part of the names of its models in LiteLLM, "groq"
    :param key_variable: environment variable with its key, as LiteLLM knows it
    :param key_secret: the provided secret with its key
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


@declaration()
class Model(Declaration):
    """A model under the name that callers use. One of our Ollama instances or a provider runs it.

    :param name: name that callers use
    :param instance: `OllamaInstance.name`; its model and address follow
    :param model: a provider's model as LiteLLM names it, "groq/llama-3.1-8b-instant"
    :param rpm: requests a minute
    :param tpm: tokens a minute, or None for no limit
    :param timeout_s: seconds that an answer may take
    :param is_embedding: it makes embeddings; every other model chats
    :param supports_reasoning: it reasons before it answers; Ollama streams that apart from the answer
    """

    name: types.Route
    instance: types.OptionalName = ""
    model: types.ProviderModel = ""
    rpm: Annotated[int, Whole(1, 1_000_000, "requests a minute")]
    tpm: Annotated[int, Whole(1, 1_000_000_000, "tokens a minute")] | None = None
    timeout_s: types.Seconds
    is_embedding: bool = False
    supports_reasoning: bool = False

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        if bool(self.instance) == bool(self.model):
            yield Conflict("instance", "declared, or else model: one of the two runs it")
        if self.model and (provider := self.model.partition("/")[0]) not in PROVIDERS:
            expected = f"a model of {', '.join(PROVIDERS)}"
            yield Conflict("model", expected, remedy=closest(provider, PROVIDERS))

    @property
    def provider(self) -> Provider | None:
        """The provider that runs it, or None where we do."""
        return PROVIDERS[self.model.partition("/")[0]] if self.model else None


@declaration()
class RouterSettings(Declaration):
    """How LiteLLM handles failures.

    :param strategy: how it chooses among deployments of one model
    :param num_retries: attempts after the first
    :param allowed_fails: failures of a model within `cooldown_s`; the next one excludes it
    :param cooldown_s: seconds that it stays excluded
    :param retry_after_s: seconds between attempts, at least
    """

    strategy: Literal["least-busy", "simple-shuffle", "latency-based-routing", "usage-based-routing-v2"]
    num_retries: Annotated[int, Whole(0, 10)]
    allowed_fails: Annotated[int, Whole(1, 1000)]
    cooldown_s: Annotated[int, Whole(1, 86_400, "seconds")]
    retry_after_s: Annotated[int, Whole(0, 600, "seconds")]


@declaration()
class ResponseCache(Declaration):
    """The cache of answers. LiteLLM caches an answer only where the caller asks for it (requirements 3.6).

    :param host: name of the Redis container
    :param port: its port
    :param user: its ACL user
    :param database: its index
    :param ttl_s: seconds that an answer is kept, at most and by default
    :param namespace: prefix of all keys
    """

    host: types.HostName
    port: types.Port
    user: types.Name
    database: types.RedisIndexNumber
    ttl_s: Annotated[int, Whole(1, 86_400, "seconds")]
    namespace: types.Name


@declaration()
class Gateway(Declaration):
    """LiteLLM, and its routes (requirements 3.3).

    :param container: its name
    :param port: port in the container for other containers
    :param domain_port: port in the container for the proxy of its public domain
    :param domain_admin_routes: administrative routes, "/key/generate", that the dashboard and the master key may
        use through the domain as well; without any, only the master key inside administers
    :param models: every model
    :param fallbacks: the models that answer when one fails, in their order, by its name
    :param aliases: models by their other names; an alias has the fallbacks of its model
    :param router: how LiteLLM handles failures
    :param cache: cache of answers
    :param administrators: users that a person made on its page, by id or address, with any rights; a run reports every
        other user that administers it or spends without a budget
    """

    container: types.HostName
    port: types.Port
    domain_port: types.Port
    domain_admin_routes: tuple[types.AdminRoute, ...] = ()
    models: tuple[Model, ...]
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: Mapping[types.Route, str] = field(default_factory=dict)
    router: RouterSettings
    cache: ResponseCache
    administrators: tuple[str, ...] = ()

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        if self.domain_port == self.port:
            yield Conflict("domain_port", "another than port")
        yield from self._unknown_models()
        yield from self._broken_chains()

    def _unknown_models(self) -> Iterator[Conflict]:
        models = [model.name for model in self.models]
        for name in _repeated(models):
            yield Conflict(f"models.{name}", "declared once", f"{name} more than once")
        for alias, target in self.aliases.items():
            key = f"aliases.{alias}"
            if alias in models:
                yield Conflict(key, "a name that no model has", "a model's name")
            if target not in models:
                expected = "the name of a model" + (", not of an alias" if target in self.aliases else "")
                yield Conflict(key, expected, target, closest(target, models))

    def _broken_chains(self) -> Iterator[Conflict]:
        """Two models may be each other's fallback (requirements 3.3), if one of them has a further one."""
        models = [model.name for model in self.models]
        for name, chain in self.fallbacks.items():
            key = f"fallbacks.{name}"
            if name in self.aliases:
                remedy = f"an alias has those of {self.aliases[name]}"
                yield Conflict(key, "those of a model", "those of an alias", remedy)
            elif name not in models:
                yield Conflict(key, "those of a model", "those of no model", closest(name, models))
            for target in chain:
                if target not in models:
                    yield Conflict(key, "names of models", target, closest(target, models))
            if name in chain:
                yield Conflict(key, "other models", f"a loop: {name} itself")
            for target in _repeated(chain):
                yield Conflict(key, "each model once", f"{target} more than once")
            circle = _reachable(name, self.fallbacks)
            if name in circle and not any(target not in self.fallbacks for target in circle):
                found = f"a loop: {', '.join(sorted(circle))} lead to each other only"
                expected = "a chain that ends with a model that has no fallbacks"
                yield Conflict(key, expected, found, "add a last resort")

    @property
    def names(self) -> tuple[str, ...]:
        """All names that a caller can use."""
        return (*(model.name for model in self.models), *self.aliases)

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The providers of at least one model."""
        return tuple(dict.fromkeys(model.provider for model in self.models if model.provider))


@declaration()
class Team(Declaration):
    """Callers with one budget and one virtual key (requirements 3.2). The key's value is a secret.

    :param name: its id in LiteLLM; the secret with its key is litellm/keys/<name>
    :param alias: its name in LiteLLM's pages, where that is another
    :param key_alias: name of its key in LiteLLM's pages
    :param budget_usd: dollars that it may spend within `budget_duration`
    :param budget_duration: time after which the budget begins anew, "30d"
    :param models: models and aliases that it may use; none means all
    """

    name: types.Name
    alias: types.OptionalName = ""
    key_alias: types.Name
    budget_usd: types.Dollars
    budget_duration: types.Duration = "30d"
    models: tuple[str, ...] = ()

    @property
    def shown_as(self) -> str:
        return self.alias or self.name

    @property
    def key_secret(self) -> str:
        """The secret with the value of its key."""
        return f"litellm/keys/{self.name}"


def _reachable(name: str, chains: Mapping[str, tuple[str, ...]]) -> set[str]:
    """All models that a failing model can lead to, over any number of failures."""
    found: set[str] = set()
    todo = list(chains.get(name, ()))
    while todo:
        target = todo.pop()
        if target not in found:
            found.add(target)
            todo += chains.get(target, ())
    return found


def _repeated(values: Iterable[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]

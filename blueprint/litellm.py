"""LiteLLM's configuration, and its problems (requirements 3).

Source: https://docs.litellm.ai/docs/proxy/configs, read in the proxy's source at 1.63.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from secrets import token_urlsafe
from typing import Any

import yaml

from blueprint.model import OllamaInstance
from blueprint.model.llm import Gateway, Model, Team
from blueprint.problems import Violation, closest
from blueprint.secrets import Secrets
from specs.litellm import KeyedTeam

# Name of the host in a container (`host_gateway` of its service).
HOST = "host.docker.internal"


def api_key() -> str:
    """A new master or virtual key. LiteLLM takes a key without the prefix sk- for the hash of one."""
    return f"sk-{token_urlsafe(32)}"


def keyed_teams(teams: Iterable[Team], secrets: Secrets) -> list[KeyedTeam]:
    """Teams as the proxy has them, each with its key."""
    return [
        KeyedTeam(
            id=team.name,
            alias=team.shown_as,
            key_alias=team.key_alias,
            key=secrets.generated(team.key_secret, api_key),
            max_budget=team.budget_usd,
            budget_duration=team.budget_duration,
            models=team.models,
        )
        for team in teams
    ]


def config_yaml(gateway: Gateway, instances: Sequence[OllamaInstance], pool_limit: int) -> str:
    """The proxy's config.yaml, which has the names of variables in place of secrets.

    :param instances: the Ollama instances that run some of the models
    :param pool_limit: connections to Postgres for each worker
    """
    return yaml.safe_dump(config(gateway, instances, pool_limit), sort_keys=False, allow_unicode=True)


def config(gateway: Gateway, instances: Sequence[OllamaInstance], pool_limit: int) -> dict[str, Any]:
    """`config_yaml` before it is written."""
    by_name = {instance.name: instance for instance in instances}
    router, cache = gateway.router, gateway.cache
    return {
        "model_list": [
            {"model_name": model.name, "litellm_params": _parameters(model, by_name, gateway)}
            for model in gateway.models
        ],
        "router_settings": {
            "routing_strategy": router.strategy,
            "num_retries": router.num_retries,
            "allowed_fails": router.allowed_fails,
            # Without any policy LiteLLM takes its default number of allowed fails, 3, for "not set".
            "allowed_fails_policy": {"TimeoutErrorAllowedFails": router.allowed_fails},
            "cooldown_time": router.cooldown_s,
            "retry_after": router.retry_after_s,
            "fallbacks": [{name: list(chain)} for name, chain in fallbacks(gateway).items()],
            "model_group_alias": dict(gateway.aliases),
        },
        "litellm_settings": {
            "cache": True,
            "cache_params": {
                "type": "redis",
                "mode": "default_off",  # a caller opts in: {"cache": {"use-cache": true, "ttl": 600}}
                "host": cache.host,
                "port": cache.port,
                "username": cache.user,
                "password": "os.environ/REDIS_PASSWORD",
                "db": cache.database,
                "ttl": cache.ttl_s,
                "namespace": cache.namespace,
            },
            "success_callback": ["langfuse"],
            "failure_callback": ["langfuse"],
            # A stream's tokens are counted with the bundled tokenizer, so that no caller waits for a download.
            "disable_hf_tokenizer_download": True,
            "drop_params": True,
            "turn_off_message_logging": True,
        },
        "general_settings": {
            "master_key": "os.environ/LITELLM_MASTER_KEY",
            "database_connection_pool_limit": pool_limit,
        },
    }


def guard_json(gateway: Gateway) -> str:
    """Settings of files/litellm/guard."""
    return json.dumps(
        {
            "port": gateway.port,
            "domain_port": gateway.domain_port,
            "models": sorted(gateway.names),
            "domain_admin_routes": sorted(gateway.domain_admin_routes),
            "cache_ttl_s": gateway.cache.ttl_s,
            "cache_namespace": gateway.cache.namespace,
        },
        indent=2,
    )


def fallbacks(gateway: Gateway) -> dict[str, tuple[str, ...]]:
    """The declared chains, and those of the aliases: LiteLLM does not apply a model's chain to its aliases."""
    chains = dict(gateway.fallbacks)
    for alias, model in gateway.aliases.items():
        if model in chains:
            chains[alias] = chains[model]
    return chains


def _parameters(model: Model, instances: Mapping[str, OllamaInstance], gateway: Gateway) -> dict[str, Any]:
    limits: dict[str, Any] = {"rpm": model.rpm}
    if model.tpm is not None:
        limits["tpm"] = model.tpm
    limits["timeout"] = model.timeout_s
    # Without `stream`, which requirements 3.3 has: every caller would get a stream, asked for or not.
    if model.provider:
        key = f"os.environ/{model.provider.key_variable}"
        return {"model": model.model, "api_key": key, **limits}
    if model.name in gateway.fallbacks:
        # LiteLLM 1.63 never skips a model that refuses connections: every caller would wait for all the
        # retries. The next of the chain answers at once instead.
        limits["num_retries"] = 0
    instance = instances[model.instance]
    address = f"http://{HOST}:{instance.port}"
    # Over /api/generate (ollama/) LiteLLM 1.63 breaks off the stream of a reasoning model; over /api/chat
    # (ollama_chat/) it passes images in a form that Ollama refuses.
    api = "ollama_chat" if model.supports_reasoning else "ollama"
    return {"model": f"{api}/{instance.model}", "api_base": address, **limits}


def problems(
    gateway: Gateway, teams: Mapping[str, Team], instances: Sequence[OllamaInstance], files: Mapping[str, str]
) -> Iterator[Violation]:
    """Problems of the gateway's declarations together.

    :param teams: by the key of their project
    :param files: the file in which each key of group_data/ is declared
    """

    def problem(key: str, item: str, found: object, expected: str, remedy: str = "") -> Violation:
        return Violation(files.get(key, "host data"), f"{key}.{item}", str(found), expected, remedy)

    known = [instance.name for instance in instances]
    for model in gateway.models:
        if model.instance and model.instance not in known:
            yield problem(
                "gateway",
                f"models.{model.name}.instance",
                model.instance,
                f"one of {', '.join(known)}",
                closest(model.instance, known),
            )
    for shown, attribute in (("name", "name"), ("alias", "shown_as"), ("key_alias", "key_alias")):
        owners: dict[str, str] = {}
        for key, team in teams.items():
            value = getattr(team, attribute)
            if value in owners:
                yield problem(key, f"team.{shown}", value, f"another than that of {owners[value]}")
            owners.setdefault(value, key)
    for key, team in teams.items():
        for name in team.models:
            if name not in gateway.names:
                expected = f"one of {', '.join(gateway.names)}"
                yield problem(key, "team.models", name, expected, closest(name, gateway.names))

"""LiteLLM's configuration: what is rendered, read back, and what the declarations are refused for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from blueprint import DeclarationError, litellm
from blueprint.model import OllamaInstance
from blueprint.model.llm import Gateway, Model, ResponseCache, RouterSettings, Team
from tests.unit.declared import declared

INSTANCES = (
    OllamaInstance(name="heavy", gpu="GPU-bdb1f5e4", port=11434, model="qwen3:8b"),
    OllamaInstance(name="light", gpu="GPU-85c38fae", port=11435, model="qwen3:4b"),
)
FILES = {"gateway": "group_data/shared.py", "second": "group_data/second.py"}
TEAM = Team(name="shop", alias="the-shop", key_alias="sk-shop", budget_usd=20)


def gateway(**changed: Any) -> Gateway:
    """A gateway that is in order, but for these fields."""
    sound: dict[str, Any] = {
        "container": "litellm-proxy",
        "port": 4000,
        "domain_port": 4001,
        "models": (
            Model(name="big", instance="heavy", rpm=20, tpm=80_000, timeout_s=60),
            Model(name="small", instance="light", rpm=40, tpm=60_000, timeout_s=30),
            Model(name="paid", model="openai/gpt-4o", rpm=60, tpm=150_000, timeout_s=30),
            Model(name="free", model="groq/qwen/qwen3-32b", rpm=60, tpm=6_000, timeout_s=30),
            Model(
                name="vectors",
                model="openai/text-embedding-3-small",
                rpm=100,
                timeout_s=15,
                is_embedding=True,
            ),
        ),
        # Two that stand in for each other, as in requirements 3.3; one of them knows a last resort.
        "fallbacks": {"big": ("small", "paid"), "small": ("big",), "free": ("small",)},
        "aliases": {"default": "big", "embedding": "vectors"},
        "router": RouterSettings(
            strategy="least-busy", num_retries=2, allowed_fails=3, cooldown_s=120, retry_after_s=5
        ),
        "cache": ResponseCache(
            host="shared-redis", port=6379, user="litellm", database=1, ttl_s=3600, namespace="litellm-cache"
        ),
    }
    return Gateway(**sound | changed)


KEYS = ("first", "second", "third")


def refused(*teams: Team, instances: tuple[OllamaInstance, ...] = INSTANCES, **changed: Any) -> list[str]:
    try:
        declared = gateway(**changed)
    except DeclarationError as error:
        return [str(problem) for problem in error.problems]
    by_key = dict(zip(KEYS, teams, strict=False))
    return [str(problem) for problem in litellm.problems(declared, by_key, instances, FILES)]


@pytest.fixture
def config() -> Any:
    return yaml.safe_load(litellm.config_yaml(gateway(), INSTANCES, pool_limit=10))


@pytest.mark.checklist("2.8")
def test_a_model_of_ours_is_asked_at_its_instances_port(config: Any) -> None:
    assert config["model_list"][1] == {
        "model_name": "small",
        "litellm_params": {
            "model": "ollama/qwen3:4b",
            "api_base": "http://host.docker.internal:11435",
            "rpm": 40,
            "tpm": 60_000,
            "timeout": 30,
            "num_retries": 0,
        },
    }


def test_a_model_without_a_fallback_is_retried() -> None:
    models = litellm.config(gateway(fallbacks={}), INSTANCES, 10)["model_list"]
    assert not [model for model in models if "num_retries" in model["litellm_params"]]


def test_a_model_that_reasons_is_called_where_its_stream_does_not_break() -> None:
    thinker = Model(name="big", instance="heavy", rpm=20, timeout_s=60, supports_reasoning=True)
    model = litellm.config(gateway(models=(thinker,), fallbacks={}, aliases={}), INSTANCES, 10)["model_list"][
        0
    ]
    assert model["litellm_params"]["model"] == "ollama_chat/qwen3:8b"


def test_a_providers_model_names_the_variable_with_its_key(config: Any) -> None:
    assert config["model_list"][4]["litellm_params"] == {
        "model": "openai/text-embedding-3-small",
        "api_key": "os.environ/OPENAI_API_KEY",
        "rpm": 100,
        "timeout": 15,
    }


@pytest.mark.checklist("1.1", "F.1")
def test_one_key_a_line() -> None:
    lines = litellm.config_yaml(gateway(), INSTANCES, 10).splitlines()
    assert "    rpm: 20" in lines
    assert not [line for line in lines if line.count(": ") > 1]


def test_nobody_gets_a_stream_unasked(config: Any) -> None:
    assert not [model for model in config["model_list"] if "stream" in model["litellm_params"]]


def test_an_alias_has_the_fallbacks_of_its_model(config: Any) -> None:
    assert config["router_settings"]["fallbacks"] == [
        {"big": ["small", "paid"]},
        {"small": ["big"]},
        {"free": ["small"]},
        {"default": ["small", "paid"]},
    ]
    assert config["router_settings"]["model_group_alias"] == {"default": "big", "embedding": "vectors"}


def test_the_allowed_fails_count(config: Any) -> None:
    assert config["router_settings"]["allowed_fails"] == 3
    # LiteLLM takes 3, its default, for "not set" unless there is a policy.
    assert config["router_settings"]["allowed_fails_policy"]


def test_the_cache_is_off_unless_a_caller_asks(config: Any) -> None:
    parameters = config["litellm_settings"]["cache_params"]
    assert parameters["mode"] == "default_off"
    assert (parameters["db"], parameters["ttl"], parameters["namespace"]) == (1, 3600, "litellm-cache")


def test_messages_stay_out_of_the_traces(config: Any) -> None:
    settings = config["litellm_settings"]
    assert settings["success_callback"] == settings["failure_callback"] == ["langfuse"]
    assert settings["turn_off_message_logging"] is True
    assert settings["drop_params"] is True


def test_secrets_are_named_and_not_written() -> None:
    """What the file names is in the environment of the container."""
    blueprint = declared()
    (service,) = next(stack for stack in blueprint.stacks if stack.name == "litellm").services
    leaves = _leaves(litellm.config(blueprint.gateway, blueprint.ollama_instances, pool_limit=1))
    named = {str(leaf).removeprefix("os.environ/") for leaf in leaves if str(leaf).startswith("os.environ/")}
    assert named <= service.generated_secrets.keys() | service.provided_secrets.keys()
    assert {"LITELLM_MASTER_KEY", "REDIS_PASSWORD", "GROQ_API_KEY", "GEMINI_API_KEY"} <= named


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value]


def test_the_connections_of_a_worker(config: Any) -> None:
    assert config["general_settings"]["database_connection_pool_limit"] == 10


def test_only_providers_in_use_have_to_give_a_key() -> None:
    assert [provider.key_secret for provider in gateway().providers] == ["openai/api_key", "groq/api_key"]


def test_a_new_key_is_one_that_litellm_takes() -> None:
    key = litellm.api_key()
    assert key.startswith("sk-")
    assert len(key) > 40
    assert key != litellm.api_key()


def test_what_is_in_order_is_not_refused() -> None:
    assert refused(TEAM, replace(TEAM, name="b", alias="", key_alias="sk-b", models=("big", "default"))) == []


def test_an_alias_to_nowhere() -> None:
    assert refused(aliases={"default": "bgi"}) == [
        ": Gateway litellm-proxy.aliases.default is bgi, but must be the name of a model; did you mean big?"
    ]


def test_an_alias_of_an_alias() -> None:
    assert refused(aliases={"default": "big", "best": "default"}) == [
        ": Gateway litellm-proxy.aliases.best is default, but must be the name of a model, not of an alias."
    ]


def test_an_alias_that_hides_a_model() -> None:
    output = refused(aliases={"small": "big"})[0]
    assert "aliases.small is a model's name" in output


def test_an_instance_that_is_not_there() -> None:
    [output] = refused(instances=INSTANCES[1:])
    assert "gateway.models.big.instance is heavy, but must be one of light" in output


def test_a_model_twice() -> None:
    [output] = refused(models=(*gateway().models, gateway().models[0]))
    assert "Gateway litellm-proxy.models.big is big more than once" in output


@pytest.mark.parametrize(
    ("chains", "output"),
    [
        ({"big": ("smal",)}, "fallbacks.big is smal, but must be names of models; did you mean small?"),
        ({"bigger": ("small",)}, "fallbacks.bigger is those of no model"),
        ({"default": ("small",)}, "fallbacks.default is those of an alias"),
        ({"big": ("small", "small")}, "fallbacks.big is small more than once"),
        ({"big": ("big", "paid")}, "fallbacks.big is a loop: big itself"),
    ],
)
def test_a_broken_chain(chains: dict[str, tuple[str, ...]], output: str) -> None:
    [problem] = refused(fallbacks=chains)
    assert output in problem


def test_a_loop() -> None:
    output = refused(fallbacks={"big": ("small",), "small": ("free",), "free": ("big",)})
    assert len(output) == 3
    assert "is a loop: big, free, small lead to each other only" in output[0]
    assert refused(fallbacks={"big": ("small",), "small": ("free",), "free": ("big", "paid")}) == []


def test_teams_that_share_something() -> None:
    output = refused(TEAM, replace(TEAM, name="other"))
    assert (
        "group_data/second.py: second.team.alias is the-shop, but must be another than that of first."
        in output
    )
    assert any("second.team.key_alias is sk-shop" in one for one in output)


def test_a_team_that_may_ask_for_nothing_known() -> None:
    [output] = refused(replace(TEAM, models=("bigg",)))
    assert "first.team.models is bigg, but must be one of big, small" in output
    assert "did you mean big?" in output


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"model": ""}, "Model m.instance is ''"),
        ({"instance": "heavy"}, "Model m.instance is 'heavy'"),
        ({"model": "mistral/large"}, "a model of groq, openai, gemini"),
        ({"model": "gpt-4o"}, "provider/model"),
        ({"rpm": 0}, "Model m.rpm is 0"),
        ({"timeout_s": 0}, "Model m.timeout_s is 0"),
        ({"name": "GPT"}, "Model GPT.name"),
    ],
)
def test_a_model_that_makes_no_sense(fields: dict[str, Any], output: str) -> None:
    sound: dict[str, Any] = {"name": "m", "model": "openai/gpt-4o", "rpm": 1, "timeout_s": 1}
    with pytest.raises(DeclarationError) as refusal:
        Model(**sound | fields)
    assert output in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"budget_usd": 0}, "Team t.budget_usd is 0"),
        ({"budget_usd": "20"}, "Team t.budget_usd is '20'"),
        ({"budget_duration": "a month"}, 'a duration such as "30d"'),
        ({"key_alias": "SK"}, "Team t.key_alias"),
    ],
)
def test_a_team_that_makes_no_sense(fields: dict[str, Any], output: str) -> None:
    sound: dict[str, Any] = {"name": "t", "key_alias": "sk-t", "budget_usd": 1}
    with pytest.raises(DeclarationError) as refusal:
        Team(**sound | fields)
    assert output in str(refusal.value)

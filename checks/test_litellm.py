"""The LiteLLM proxy: models, chains, teams, keys and budgets, through its API and without a completion."""

from __future__ import annotations

from typing import Any

import pytest

from blueprint import litellm
from blueprint.model import Team
from blueprint.model.llm import Model
from checks.expect import expect, no_problems
from checks.server import Server
from facts.litellm import Proxy, ProxyState
from operations.litellm import right_problems

pytestmark = pytest.mark.litellm

AGAIN = "run --data phase=litellm again"


def proxy(server: Server) -> ProxyState:
    """Teams, keys and users in the proxy's database."""
    gateway = server.blueprint.gateway
    return server.fact(Proxy, container=gateway.container, port=gateway.port)


def routing(server: Server) -> Any:
    """Models and routing of the running proxy."""
    gateway = server.blueprint.gateway
    return server.probe("litellm.py", gateway.port, inside=gateway.container)


def declared(server: Server) -> dict[str, Any]:
    """The proxy's configuration."""
    return litellm.config(server.blueprint.gateway, server.blueprint.ollama_instances, 1)


def test_model_leads_to_its_server(server: Server, model: Model) -> None:
    """The running proxy has the model, at its provider or its own Ollama instance, with its limits."""
    (entry,) = (one for one in declared(server)["model_list"] if one["model_name"] == model.name)
    expected = {
        key: value for key, value in entry["litellm_params"].items() if key not in ("api_key", "num_retries")
    }
    expect(f"model {model.name}", routing(server)["models"].get(model.name), expected, AGAIN)


def test_no_other_model(server: Server) -> None:
    """Nobody has added a model: its calls would be of no team's budget."""
    names = set(server.blueprint.gateway.names)
    expect("models", set(routing(server)["models"]), names, "remove it on the proxy's page, or declare it")


def test_chains_are_as_declared(server: Server) -> None:
    """A model that fails is replaced by the declared ones, and an alias leads where it is declared to."""
    router, found = declared(server)["router_settings"], routing(server)["router"]
    chains = {name: chain for one in found.get("fallbacks") or () for name, chain in one.items()}
    expected = {name: chain for one in router["fallbacks"] for name, chain in one.items()}
    expect("fallbacks", chains, expected, AGAIN)
    models = routing(server)["models"]
    wrong = {
        alias: models.get(alias)
        for alias, model in router["model_group_alias"].items()
        if models.get(alias) != models.get(model)
    }
    expect("aliases that lead elsewhere", wrong, {}, AGAIN)


def test_routing_is_as_declared(server: Server) -> None:
    """Retries and cool-downs are in force."""
    router, found = declared(server)["router_settings"], routing(server)["router"]
    keys = ("routing_strategy", "num_retries", "allowed_fails", "cooldown_time", "retry_after")
    expect("router", {key: found.get(key) for key in keys}, {key: router[key] for key in keys}, AGAIN)


def test_team_has_its_budget(server: Server, team: Team) -> None:
    """The team is there with its budget, its period and its models."""
    found = {one.id: one for one in proxy(server).teams}.get(team.name)
    state = found and (found.alias, found.max_budget, found.budget_duration, set(found.models))
    expected = (team.shown_as, team.budget_usd, team.budget_duration, set(team.models))
    expect(f"team {team.name}", state, expected, AGAIN)


def test_team_has_its_key_alone(server: Server, team: Team) -> None:
    """The team has the one key that its project uses."""
    found = [key.alias for key in proxy(server).keys if key.team == team.name]
    expect(f"keys of {team.name}", found, [team.key_alias], AGAIN)


def test_team_has_credit(server: Server, team: Team) -> None:
    """The team has not used up its budget: its calls to paid models would be refused."""
    found = {one.id: one for one in proxy(server).teams}[team.name]
    used = f"${found.spend:.2f} of ${team.budget_usd:g}"
    expect(f"credit of {team.name}: {used}", found.spend < team.budget_usd, True, "raise its budget, or wait")


def test_nobody_else_has_rights(server: Server) -> None:
    """No administrator, key or model is there that nobody declared and that no budget limits."""
    gateway = server.blueprint.gateway
    keys = {team.name: team.key_alias for team in server.blueprint.teams}
    no_problems(right_problems(proxy(server), keys, gateway.administrators))

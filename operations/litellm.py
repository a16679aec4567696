"""Teams and virtual keys of a LiteLLM proxy, through its admin API, and whether its routes work."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pyinfra import logger
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.backups import Backups, BackupState
from facts.cache import cached_fact
from facts.litellm import PROGRAM, WAIT_S, Proxy, ProxyState, TeamState, VirtualKey
from operations import backup, script
from operations.backup import Saving
from specs.litellm import KeyedTeam
from specs.problems import Problem

MINIMUM_KEY_LENGTH = 16
# Whose the master key is; the proxy makes that user itself.
_MASTER = "default_user_id"
_ADMINISTRATORS = ("proxy_admin", "proxy_admin_viewer")
# How what is found there is taken away.
_INSIDE = "inside its container with the master key"


@dataclass(frozen=True)
class ProxyRequest:
    """A request to the proxy, one step towards its declared state. `body` may hold the value of a key."""

    description: str
    path: str
    body: dict[str, Any] = field(repr=False)


def steps(proxy: ProxyState, desired: Iterable[KeyedTeam], absent: Iterable[str] = ()) -> list[ProxyRequest]:
    """The requests to the proxy, in their order. Teams and keys that are not named are left alone."""
    todo = list[ProxyRequest]()
    actual = {team.id: team for team in proxy.teams}
    for team in desired:
        todo += _team_steps(actual.get(team.id), team)
        todo += _key_steps(proxy, team)
    for team_id in absent:
        if team_id in actual:
            # A team's keys are deleted with it, but LiteLLM goes on taking those that it has in its cache.
            hashes = [key.hash for key in proxy.keys if key.team == team_id]
            if hashes:
                todo.append(ProxyRequest(f"keys of team {team_id}: delete", "/key/delete", {"keys": hashes}))
            todo.append(ProxyRequest(f"team {team_id}: delete", "/team/delete", {"team_ids": [team_id]}))
    return todo


def _team_steps(actual: TeamState | None, desired: KeyedTeam) -> list[ProxyRequest]:
    settings: dict[str, Any] = {
        "team_alias": desired.alias,
        "max_budget": desired.max_budget,
        "budget_duration": desired.budget_duration,
        "models": list(desired.models),
    }
    if actual is None:
        return [ProxyRequest(f"team {desired.id}: create", "/team/new", {"team_id": desired.id, **settings})]
    present: dict[str, Any] = {
        "team_alias": actual.alias,
        "max_budget": actual.max_budget,
        "budget_duration": actual.budget_duration,
        "models": list(actual.models),
    }
    # Only what differs: a budget_duration that is sent again begins the budget's period anew.
    changed = {name: value for name, value in settings.items() if value != present[name]}
    if not changed:
        return []
    changes = ", ".join(f"{name} {present[name]!r} to {value!r}" for name, value in changed.items())
    return [ProxyRequest(f"team {desired.id}: {changes}", "/team/update", {"team_id": desired.id, **changed})]


def _key_steps(proxy: ProxyState, desired: KeyedTeam) -> list[ProxyRequest]:
    todo = []
    # An alias belongs to one key. What has ours with another value was rotated out.
    for key in proxy.keys:
        if key.alias == desired.key_alias and key.hash != desired.key_hash:
            todo.append(
                ProxyRequest(
                    f"key {desired.key_alias}: delete the old one", "/key/delete", {"keys": [key.hash]}
                )
            )
    # The team says which models: a key of its own list would have to be kept in step with it.
    settings = {"key_alias": desired.key_alias, "team_id": desired.id, "models": list[str]()}
    actual = next((key for key in proxy.keys if key.hash == desired.key_hash), None)
    if actual is None:
        todo.append(
            ProxyRequest(
                f"key {desired.key_alias}: create", "/key/generate", {"key": desired.key, **settings}
            )
        )
    elif {"key_alias": actual.alias, "team_id": actual.team, "models": list(actual.models)} != settings:
        todo.append(
            ProxyRequest(f"key {desired.key_alias}: correct", "/key/update", {"key": desired.key, **settings})
        )
    return todo


@operation()
def teams(
    container: str,
    port: int,
    desired: Sequence[KeyedTeam],
    absent: Sequence[str] = (),
    known: Sequence[str] = (),
    remedy: str = "it stays until it is named in `absent`",
    before_deletion: Saving | None = None,
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Give each team its budget and models, and its key the declared value.

    A key whose value changed is replaced: the old one is refused from then on. What the team has spent stays. Teams
    that are neither desired nor absent are named and left alone.

    + container: the proxy's; the requests are made inside it, with the master key that it has anyway
    + port: where the proxy listens in there
    + desired: the teams
    + absent: ids of teams to delete, with their keys
    + known: ids of further teams that are declared, and which another run brings
    + remedy: what becomes of an undeclared team, for the message
    + before_deletion: how that which the proxy keeps is saved before a team goes, and with it what it has spent

    Raises `OperationValueError` for a key that LiteLLM would not take.
    """
    for team in desired:
        if not team.key.startswith("sk-") or len(team.key) < MINIMUM_KEY_LENGTH:
            raise OperationValueError(
                f"the key of team {team.id} has to begin with sk- and have at least {MINIMUM_KEY_LENGTH} characters"
            )
    if both := {team.id for team in desired} & set(absent):
        raise OperationValueError(f"teams both desired and absent: {', '.join(sorted(both))}")
    # The run that is being prepared may be the one that brings it back.
    actual: ProxyState = cached_fact(Proxy, container=container, port=port, required=state.is_executing)
    declared = {team.id for team in desired}.union(absent, known)
    for name in sorted({team.id for team in actual.teams} - declared):
        if state.is_executing:
            host.log_styled(f"team {name} is not declared; {remedy}", fg="yellow", log_func=logger.warning)
    todo = steps(actual, desired, absent)
    if not todo:
        host.noop("every team and its key are as declared")
        return
    if before_deletion and any(step.path == "/team/delete" for step in todo):
        pieces = [piece for pieces in before_deletion.pieces.values() for piece in pieces]
        before: dict[str, BackupState] = cached_fact(Backups, root=before_deletion.root)
        yield from backup.save(pieces, before_deletion.command, before_deletion.root, before)
    yield _request(container, port, "apply", [asdict(step) for step in todo])


def _strays(proxy: ProxyState, declared: Mapping[str, str]) -> list[VirtualKey]:
    """Undeclared keys. `teams` reports undeclared teams.

    :param declared: alias of the one key of each team, by the team's id
    """
    return [
        key
        for key in proxy.keys
        if (key.team is None or key.team in declared)
        and (key.alias is None or declared.get(key.team or "") != key.alias)
    ]


def _unlimited(proxy: ProxyState, key: VirtualKey) -> bool:
    """Whether it has no spending limit, or administers the proxy."""
    administrators = {user.id for user in proxy.users if user.role in _ADMINISTRATORS}
    return (key.team is None and key.max_budget is None) or key.user in administrators


def _called(key: VirtualKey) -> str:
    return f"key {key.alias or key.hash[:12]} of {f'team {key.team}' if key.team else 'no team'}"


def right_problems(
    proxy: ProxyState, declared: Mapping[str, str], administrators: Iterable[str]
) -> Iterator[Problem]:
    """A problem for each undeclared administrator, key without a budget, and model that hides one of ours.

    :param declared: alias of the one key of each team, by the team's id
    :param administrators: ids or addresses of users that a person made, and that may have whatever rights they have
    """
    yours = "if that is yours, name it in `gateway.administrators`"
    named = {*administrators}
    accepted = {_MASTER, *(user.id for user in proxy.users if {user.id, user.email} & named)}
    for user in proxy.users:
        if user.role in _ADMINISTRATORS and user.id not in accepted:
            yield Problem(
                f"LiteLLM: user {user.email or user.id}",
                f"{user.role}: it reads or administers everybody's teams and keys",
                "no administrator but the master key",
                f"POST /user/delete of its id, {_INSIDE}; {yours}",
            )
    for key in _strays(proxy, declared):
        if _unlimited(proxy, key) and key.user not in accepted - {_MASTER}:
            yield Problem(
                f"LiteLLM: {_called(key)}",
                "it may spend without a limit",
                "keys of declared teams, or with a budget of their own",
                f"POST /key/delete of it, or /key/update with a team or a budget, {_INSIDE}; {yours}",
            )
    for model in sorted(set(proxy.models)):
        yield Problem(
            f"LiteLLM: model {model}",
            "in its database: a caller of that name gets what somebody has set on its page",
            "only models of `gateway`",
            f"POST /model/delete of its id, {_INSIDE}; declare it if it is needed",
        )


def stray_sentences(proxy: ProxyState, declared: Mapping[str, str]) -> Iterator[str]:
    """Undeclared keys and users without excessive rights. Arguments as of `right_problems`."""
    for key in _strays(proxy, declared):
        if not _unlimited(proxy, key):
            yield f"{_called(key)} in LiteLLM is not declared; it stays until it is deleted"
    for user in proxy.users:
        if user.id != _MASTER and user.role not in _ADMINISTRATORS:
            yield f"user {user.email or user.id} in LiteLLM is not declared; it stays until it is deleted"


@operation(is_idempotent=False)
def verify(
    container: str,
    port: int,
    chat: Sequence[str],
    embeddings: Sequence[str],
    aliases: Mapping[str, str],
    fallbacks: Mapping[str, Sequence[str]],
    keys: Mapping[str, str],
    priced: str,
    traced: bool,
) -> Generator[script.Script, None, None]:
    """Try the proxy: health, every route by itself, every alias, the fallback of each model that has one (LiteLLM is
    asked to fail the model for one request), the cache, an unknown key, each team's key, with a `priced` model what a
    budget does, and the trace of a call. A line each, "ok …" or "FAIL …"; what fails is named.

    Each route is really called once or twice, paid ones too. Always counts as a change.

    + container: the proxy's
    + port: where it listens in there
    + chat: models that chat
    + embeddings: models that make embeddings
    + aliases: other names, by the model that has to answer
    + fallbacks: models that have to answer, by the model that fails
    + keys: value of each team's key, by the team
    + priced: a model whose answers cost something: a team made for it then spends its budget, and is deleted again
    + traced: calls are traced in the Langfuse that the container's environment names
    """
    expected = {
        "chat": list(chat),
        "embeddings": list(embeddings),
        "aliases": dict(aliases),
        "fallbacks": {model: list(chain) for model, chain in fallbacks.items()},
        "keys": dict(keys),
        "priced": priced,
        "traced": traced,
    }
    yield _request(container, port, "verify", expected)


def _request(container: str, port: int, action: str, data: Any) -> script.Script:
    program = PROGRAM.read_text()
    return script.run(
        "litellm/call.sh", container, program, port, WAIT_S, action, payload=json.dumps(data), stream=True
    )

"""`make verify`: whether what a host was given works, tried for real, and the host in numbers (requirements 12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import OperationMeta
from pyinfra.context import host

from blueprint import Secrets, backup, postgres
from blueprint import litellm as routes
from blueprint.applied import Applied
from blueprint.names import KUMA, POOLER, POSTGRES
from blueprint.phases import HARDWARE, LITELLM, MONITORING
from facts.backups import Backups
from facts.cache import cached_fact
from facts.docker import Engine
from facts.firewall import Firewall
from facts.gpu import Gpus
from facts.host import Host
from facts.litellm import Proxy
from facts.ollama import Instances
from facts.pgbouncer import Answers
from facts.postgres import Cluster
from facts.sshd import Sshd
from facts.stacks import Stacks
from facts.uptime_kuma import Kuma, login
from facts.whisper_asr import WhisperAsr
from operations import docker, firewall, litellm
from operations.checks import Problem, check, insist
from phases import numbers
from phases.hardware.ssh import PATH
from phases.numbers import Line
from phases.rights import ADMIN, of_services

# How files/litellm/proxy.py begins the line of what does not work.
FAILED = "FAIL"


@deploy("Verification")
def verification(applied: Applied, secrets: Secrets) -> None:
    """Try the gateway, then look at everything else; whatever is wrong is in one report at the end."""
    tried = _try_gateway(applied, secrets) if LITELLM in applied.phases else None
    as_given(name="Final verification", applied=applied, secrets=secrets, tried=tried)


def _try_gateway(applied: Applied, secrets: Secrets) -> OperationMeta:
    gateway = applied.blueprint.gateway
    chat = [model for model in gateway.models if not model.is_embedding]
    # LiteLLM knows the prices of OpenAI's models, the smallest of which is declared last.
    paid = [model.name for model in chat if model.provider and model.provider.name == "openai"]
    return litellm.verify(
        name="Routes, fallbacks, aliases, cache, keys, budgets and traces of LiteLLM",
        container=gateway.container,
        port=gateway.port,
        chat=[model.name for model in chat],
        embeddings=[model.name for model in gateway.models if model.is_embedding],
        aliases=gateway.aliases,
        fallbacks=routes.fallbacks(gateway),
        keys={team.name: secrets.generated(team.key_secret, routes.api_key) for team in applied.teams},
        priced=paid[-1] if paid else "",
        traced=True,
        _ignore_errors=True,  # what it could not try is in the report, with the rest
    )


@check
def as_given(applied: Applied, secrets: Secrets, tried: OperationMeta | None) -> Iterator[Problem]:
    """Everything that the host was given is there and well; a line of numbers each.

    + applied: what the host was given
    + secrets: the environment's
    + tried: how the trial of the gateway went, where there is one
    """
    if tried is not None:
        yield from of_trial(tried)
    for line in insist(lambda: list(_lines(applied, secrets)), _wrong):
        host.log_styled(str(line), fg="red" if line.problems else "green")
        yield from line.problems


def _wrong(lines: Iterable[Line]) -> list[str]:
    return [problem.what for line in lines for problem in line.problems]


def of_trial(tried: OperationMeta) -> Iterator[Problem]:
    remedy = "docker logs --tail 50 of the proxy; is a model retired, a key revoked, an instance down?"
    if tried.did_error():
        yield Problem("LiteLLM", "it could not be tried, see above", "every route tried", remedy)
    for line in tried.stdout_lines:
        if line.startswith(FAILED):
            what, _, said = line.removeprefix(FAILED).strip().partition(": ")
            yield Problem(f"LiteLLM, {what}", said, "it works", remedy)


def _lines(applied: Applied, secrets: Secrets) -> Iterator[Line]:
    blueprint = applied.blueprint
    machine = cached_fact(Host)
    yield from numbers.machine(applied, machine)
    if HARDWARE in applied.phases:
        engine = cached_fact(Engine, parts=docker.ASKED)
        yield numbers.reachable(applied, cached_fact(Firewall, chains=firewall.CHAINS), engine)
        yield numbers.logins(cached_fact(Sshd, path=PATH))
        instances = cached_fact(Instances, ports=[instance.port for instance in blueprint.ollama_instances])
        yield from numbers.cards(applied, machine, cached_fact(Gpus), instances)
        whisper = cached_fact(WhisperAsr, container=blueprint.whisper.name, port=blueprint.whisper.port)
        yield numbers.whisper(applied, whisper)
    yield numbers.containers(applied, cached_fact(Stacks, root=blueprint.paths.stacks))
    if LITELLM in applied.phases:
        yield numbers.databases(applied, cached_fact(Cluster, container=POSTGRES), _pooled(applied))
        gateway = blueprint.gateway
        proxy = cached_fact(Proxy, container=gateway.container, port=gateway.port, required=True)
        yield from numbers.spend(applied.teams, proxy)
        saved = cached_fact(Backups, root=blueprint.backups.root)
        yield numbers.backups(backup.all_pieces(applied), saved, blueprint.backups.max_age_h)
    if MONITORING in applied.phases:
        password = secrets.generated("uptime_kuma/password")
        asked = [login(ADMIN, password)]
        yield numbers.monitors(cached_fact(Kuma, container=KUMA, required=True, _stdin=asked))
    if LITELLM in applied.phases:
        yield numbers.rights(of_services(applied, secrets))


def _pooled(applied: Applied) -> dict[str, str]:
    if MONITORING not in applied.phases:
        return {}
    names = [database.name for database in applied.databases]
    said: dict[str, str] = cached_fact(
        Answers,
        container=POSTGRES,
        host=POOLER,
        port=applied.blueprint.pgbouncer.port,
        user=postgres.MONITOR,
        passfile=postgres.PASSFILE,
        databases=names,
    )
    return {name: said.get(name, "") for name in names}

"""`make verify`: tries every service of a host for real, and shows the host in numbers (requirements 12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import OperationMeta
from pyinfra.context import host

from blueprint import Secrets, backup
from blueprint import litellm as routes
from blueprint.applied import Applied
from blueprint.names import KUMA, POSTGRES
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
from operations.checks import check, poll
from phases import numbers
from phases.hardware.ssh import PATH
from phases.monitoring import client_of_pooler
from phases.numbers import Line
from phases.rights import ADMIN, of_services
from specs.problems import Problem

# Prefix of a line of files/litellm/proxy.py about something that does not work.
FAILED = "FAIL"


@deploy("Verification")
def verification(applied: Applied, secrets: Secrets) -> None:
    """Try the gateway, then check everything else; one report at the end has all problems."""
    tried = _try_gateway(applied, secrets) if LITELLM in applied.phases else None
    final_verification(name="Final verification", applied=applied, secrets=secrets, tried=tried)


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
        _ignore_errors=True,  # the report at the end has its failures, too
    )


@check
def final_verification(applied: Applied, secrets: Secrets, tried: OperationMeta | None) -> Iterator[Problem]:
    """Check everything that the host has, and log a line of numbers for each part.

    + applied: what the host has
    + secrets: the environment's
    + tried: result of trying the gateway; None without one
    """
    if tried is not None:
        yield from of_trial(tried)
    for line in poll(lambda: list(_lines(applied, secrets)), _wrong):
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
            what, _, output = line.removeprefix(FAILED).strip().partition(": ")
            yield Problem(f"LiteLLM, {what}", output, "it works", remedy)


def _lines(applied: Applied, secrets: Secrets) -> Iterator[Line]:
    blueprint = applied.blueprint
    machine = cached_fact(Host)
    yield from numbers.machine(applied, machine)
    if HARDWARE in applied.phases:
        engine = cached_fact(Engine, parts=docker.ENGINE_PARTS)
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
        kuma = cached_fact(Kuma, container=KUMA, required=True, _stdin=[login(ADMIN, password)])
        yield numbers.monitors(kuma)
    if LITELLM in applied.phases:
        yield numbers.rights(of_services(applied, secrets))


def _pooled(applied: Applied) -> dict[str, str]:
    if MONITORING not in applied.phases:
        return {}
    client = client_of_pooler(applied.blueprint, applied.databases)
    answers: dict[str, str] = cached_fact(Answers, **client)
    return {name: answers.get(name, "") for name in client["databases"]}

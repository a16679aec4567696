"""A host in numbers: a line for each thing that it was given, with what is wrong with it (requirements 12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blueprint.applied import Applied
from blueprint.model import Stack, Team
from facts.backups import BackupState
from facts.docker import EngineState
from facts.firewall import FirewallState
from facts.gpu import GpuState
from facts.host import HostState
from facts.litellm import ProxyState
from facts.ollama import OllamaState
from facts.postgres import ClusterState
from facts.sshd import SshdState
from facts.stacks import Container, StacksState
from facts.uptime_kuma import KumaState
from facts.whisper_asr import WhisperAsrState
from operations import docker, ollama, sshd, uptime_kuma, whisper_asr
from operations import firewall as host_firewall
from operations.checks import Problem
from phases import preflight
from phases.cards import full_uuids
from phases.hardware.firewall import ruleset
from phases.hardware.ollama import placements
from phases.hardware.ssh import SETTINGS
from phases.hardware.whisper import service

GIB = 1024**3
HOUR_S = 3600


@dataclass(frozen=True)
class Line:
    """One line.

    :param what: what it is about
    :param found: the numbers
    :param problems: what is not as it should be
    """

    what: str
    found: str
    problems: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        return f"{'FAIL' if self.problems else 'ok':<5} {self.what:<11} {self.found}"


def machine(applied: Applied, state: HostState) -> Iterator[Line]:
    """Cores, memory and disk, against the hardware profile."""
    wrong = {problem.what: problem for problem in preflight.machine_problems(applied.blueprint, state)}
    disk = state.root_disk
    lines = {
        "cores": ("processor", f"{state.cores} of an {state.cpu}"),
        "RAM": ("memory", f"{state.memory / GIB:.1f} GiB"),
        "disk": (f"disk of {disk.path}", f"{disk.percent} % used, {disk.free / GIB:.0f} GiB free"),
    }
    for what, (key, found) in lines.items():
        problem = wrong.pop(key, None)
        yield Line(what, found, (problem,) if problem else ())
    for problem in wrong.values():
        yield Line(problem.what, problem.found, (problem,))


def cards(applied: Applied, state: HostState, gpus: GpuState, instances: OllamaState) -> Iterator[Line]:
    """The cards, and whether each computes for its own instance and for no other."""
    blueprint = applied.blueprint
    wrong = tuple(preflight.gpu_problems(blueprint, state, gpus))
    count = f"{len(gpus.gpus)} of {len(blueprint.gpus)}"
    yield Line("GPUs", f"{count}: {', '.join(gpu.name for gpu in gpus.gpus) or 'none'}", wrong)
    if wrong:
        return  # where an instance belongs is not known
    wanted = placements(blueprint, full_uuids(blueprint, gpus))
    misplaced = tuple(ollama.misplaced(instances, wanted))
    away = [one.instance for one in ollama.unloaded(instances, wanted) if one.yields_gpu]
    resident = len(wanted) - len(misplaced) - len(away)
    gave_way = f"; gave way: {', '.join(away)}" if away else ""
    found = f"{resident} of {len(wanted)} models resident, each on its own card{gave_way}"
    yield Line("Ollama", found, misplaced)


def reachable(applied: Applied, rules: FirewallState, engine: EngineState) -> Line:
    """What the world and containers reach: the firewall's rules, and the engine's own."""
    blueprint = applied.blueprint
    missing = [
        *host_firewall.difference(ruleset(blueprint), rules),
        *docker.missing_rules(engine, docker.read_config(engine.config)),
    ]
    wrong = tuple(
        Problem("firewall", reason, "the declared rules", "run --data phase=hardware again")
        for reason in missing
    )
    world, containers = (
        ", ".join(map(str, ports)) for ports in (blueprint.open_tcp_ports, blueprint.internal_tcp_ports)
    )
    return Line("firewall", f"open to the world: {world}; to containers: {containers}", wrong)


def logins(found: SshdState) -> Line:
    """Who may log in over SSH, and what the owner has set otherwise."""
    sentences = list(sshd.contradictions(SETTINGS, found))
    wrong = tuple(sshd.ineffective(SETTINGS, found))
    return Line("SSH", "; ".join(sentences) or "keys only", wrong)


def whisper(applied: Applied, found: WhisperAsrState) -> Line:
    """The recogniser that all projects share."""
    wrong = tuple(whisper_asr.problems(found, service(applied.blueprint)))
    return Line("whisper", f"{applied.blueprint.whisper.model}, {found.status or 'no container'}", wrong)


def containers(applied: Applied, found: StacksState) -> Line:
    """Everything that was given runs and is well."""
    wanted = [
        service.name
        for stack in applied.stacks
        if not _done_by_another(stack, found)
        for service in stack.services
    ]
    wrong = tuple(
        Problem(
            f"container {name}",
            f"{container.status}, {container.health or 'without health'}" if container else "missing",
            "running and healthy",
            f"docker logs --tail 50 {name}; run the deploy again",
        )
        for name in wanted
        if not _well(container := found.containers.get(name))
    )
    return Line("containers", f"{len(wanted) - len(wrong)} of {len(wanted)} healthy", wrong)


def _done_by_another(stack: Stack, found: StacksState) -> bool:
    other = found.containers.get(stack.skip_if_running or "")
    return other is not None and other.status == "running"


def _well(container: Container | None) -> bool:
    return container is not None and (container.status, container.health) == ("running", "healthy")


def databases(applied: Applied, cluster: ClusterState, pooled: dict[str, str]) -> Line:
    """The databases that were given are there, and answer through PgBouncer where that was given.

    :param pooled: what each answered through the pooler
    """
    names = [database.name for database in applied.databases]
    wrong = [
        Problem(f"database {name}", "not there", "there", "run the deploy again: it makes it, empty")
        for name in names
        if name not in cluster.databases
    ]
    wrong += [
        Problem(
            f"database {name} through PgBouncer", said or "no answer", name, "docker logs --tail 20 pgbouncer"
        )
        for name, said in pooled.items()
        if said != name
    ]
    through = f", {sum(name == said for name, said in pooled.items())} through PgBouncer" if pooled else ""
    there = sum(name in cluster.databases for name in names)
    return Line("databases", f"{there} of {len(names)}{through}: {', '.join(names)}", tuple(wrong))


def spend(teams: Iterable[Team], proxy: ProxyState) -> Iterator[Line]:
    """What each project's calls have cost of its budget (requirements 3.7)."""
    found = {team.id: team for team in proxy.teams}
    for team in teams:
        actual = found.get(team.name)
        problem = Problem(f"team {team.name}", "not in LiteLLM", "there", "run the deploy again")
        amount = (
            f"${actual.spend:.4f} of ${team.budget_usd:g} in {team.budget_duration}" if actual else "no team"
        )
        yield Line("spend", f"{team.shown_as}: {amount}", () if actual else (problem,))


def monitors(found: KumaState) -> Line:
    """Everything that is asked is up; how cron jobs ended they tell themselves."""
    ours = [
        monitor
        for monitor in found.monitors
        if uptime_kuma.owner_of(monitor) is not None and monitor.settings.get("type") != "push"
    ]
    wrong = tuple(uptime_kuma.not_up(found))
    return Line("monitors", f"{len(ours) - len(wrong)} of {len(ours)} up", wrong)


def backups(pieces: Iterable[str], found: dict[str, BackupState], max_age_h: float) -> Line:
    """The newest backup of each piece is good and young enough.

    :param pieces: what there must be a backup of
    """
    wanted = list(pieces)
    wrong = []
    for piece in wanted:
        newest = found.get(piece)
        if newest is None or newest.doubt or newest.age_s > max_age_h * HOUR_S:
            state = (newest.doubt or f"{newest.age_s / HOUR_S:.0f} h old") if newest else "none"
            remedy = "`make backup-list` shows what there is; the log of the cron job says why"
            wrong.append(
                Problem(f"backup of {piece}", state, f"a good one of the last {max_age_h:.0f} h", remedy)
            )
    last = max((found[piece].stamp for piece in wanted if piece in found), default="never")
    return Line(
        "backups", f"{len(wanted) - len(wrong)} of {len(wanted)} good, the last of {last}", tuple(wrong)
    )


def rights(found: Iterable[Problem | str]) -> Line:
    """Nobody has rights that are not declared; what is there beside, and harms nobody, is counted."""
    each = list(found)
    wrong = tuple(one for one in each if isinstance(one, Problem))
    harmless = len(each) - len(wrong)
    return Line(
        "rights", f"{len(wrong)} that nobody declared, {harmless} things beside that harm nobody", wrong
    )

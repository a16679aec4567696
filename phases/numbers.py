"""A host in numbers: a line for each part of it, with the problems of that part (requirements 12)."""

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
from phases import preflight
from phases.cards import full_uuids
from phases.hardware.firewall import ruleset
from phases.hardware.ollama import placements
from phases.hardware.ssh import SETTINGS
from phases.hardware.whisper import service
from specs.problems import Problem

GIB = 1024**3
HOUR_S = 3600


@dataclass(frozen=True)
class Line:
    """One line.

    :param what: part of the host
    :param found: its numbers
    :param problems: its problems
    """

    what: str
    found: str
    problems: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        return f"{'FAIL' if self.problems else 'ok':<5} {self.what:<11} {self.found}"


def machine(applied: Applied, state: HostState) -> Iterator[Line]:
    """Cores, memory and disk, compared with the hardware profile."""
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
    """The cards, and whether each has the model of its own instance and no other."""
    blueprint = applied.blueprint
    wrong = tuple(preflight.gpu_problems(blueprint, state, gpus))
    count = f"{len(gpus.gpus)} of {len(blueprint.gpus)}"
    yield Line("GPUs", f"{count}: {', '.join(gpu.name for gpu in gpus.gpus) or 'none'}", wrong)
    if wrong:
        return  # the card of an instance is not known
    expected = placements(blueprint, full_uuids(blueprint, gpus))
    misplaced = tuple(ollama.misplaced(instances, expected))
    yielding = [one.instance for one in ollama.unloaded(instances, expected) if one.yields_gpu]
    resident = len(expected) - len(misplaced) - len(yielding)
    suffix = f"; yielded to a container: {', '.join(yielding)}" if yielding else ""
    found = f"{resident} of {len(expected)} models resident, each on its own card{suffix}"
    yield Line("Ollama", found, misplaced)


def reachable(applied: Applied, rules: FirewallState, engine: EngineState) -> Line:
    """The ports that are open to the world and to containers, by the firewall's rules and the engine's own."""
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
    """The settings of SSH, and where the owner has set them otherwise."""
    sentences = list(sshd.contradictions(SETTINGS, found))
    wrong = tuple(sshd.ineffective(SETTINGS, found))
    return Line("SSH", "; ".join(sentences) or "keys only", wrong)


def whisper(applied: Applied, found: WhisperAsrState) -> Line:
    """The speech recogniser of all projects."""
    wrong = tuple(whisper_asr.problems(found, service(applied.blueprint)))
    return Line("whisper", f"{applied.blueprint.whisper.model}, {found.status or 'no container'}", wrong)


def containers(applied: Applied, found: StacksState) -> Line:
    """Whether all containers of the host are healthy."""
    expected = [
        service.name for stack in applied.stacks if not _replaced(stack, found) for service in stack.services
    ]
    wrong = tuple(
        Problem(
            f"container {name}",
            f"{container.status}, {container.health or 'without health'}" if container else "missing",
            "running and healthy",
            f"docker logs --tail 50 {name}; run the deploy again",
        )
        for name in expected
        if not _healthy(container := found.containers.get(name))
    )
    return Line("containers", f"{len(expected) - len(wrong)} of {len(expected)} healthy", wrong)


def _replaced(stack: Stack, found: StacksState) -> bool:
    other = found.containers.get(stack.skip_if_running or "")
    return other is not None and other.status == "running"


def _healthy(container: Container | None) -> bool:
    return container is not None and (container.status, container.health) == ("running", "healthy")


def databases(applied: Applied, cluster: ClusterState, pooled: dict[str, str]) -> Line:
    """Whether the host's databases exist, and answer through PgBouncer if the host has it.

    :param pooled: answer of each database through the pooler
    """
    names = [database.name for database in applied.databases]
    wrong = [
        Problem(
            f"database {name}", "missing", "present", "run the deploy again: it creates the database, empty"
        )
        for name in names
        if name not in cluster.databases
    ]
    wrong += [
        Problem(
            f"database {name} through PgBouncer",
            answer or "no answer",
            name,
            "docker logs --tail 20 pgbouncer",
        )
        for name, answer in pooled.items()
        if answer != name
    ]
    through = (
        f", {sum(name == answer for name, answer in pooled.items())} through PgBouncer" if pooled else ""
    )
    existing = sum(name in cluster.databases for name in names)
    return Line("databases", f"{existing} of {len(names)}{through}: {', '.join(names)}", tuple(wrong))


def spend(teams: Iterable[Team], proxy: ProxyState) -> Iterator[Line]:
    """The cost of each project's calls, and its budget (requirements 3.7)."""
    found = {team.id: team for team in proxy.teams}
    for team in teams:
        actual = found.get(team.name)
        problem = Problem(f"team {team.name}", "not in LiteLLM", "present", "run the deploy again")
        amount = (
            f"${actual.spend:.4f} of ${team.budget_usd:g} in {team.budget_duration}" if actual else "no team"
        )
        yield Line("spend", f"{team.shown_as}: {amount}", () if actual else (problem,))


def monitors(found: KumaState) -> Line:
    """Whether all monitors are up, but those of cron jobs, which report their last run themselves."""
    ours = [
        monitor
        for monitor in found.monitors
        if uptime_kuma.owner_of(monitor) is not None and monitor.settings.get("type") != "push"
    ]
    wrong = tuple(uptime_kuma.not_up(found))
    return Line("monitors", f"{len(ours) - len(wrong)} of {len(ours)} up", wrong)


def backups(pieces: Iterable[str], found: dict[str, BackupState], max_age_h: float) -> Line:
    """Whether the newest backup of each piece is good and young enough.

    :param pieces: pieces that must have a backup
    """
    expected = list(pieces)
    wrong = []
    for piece in expected:
        newest = found.get(piece)
        if newest is None or newest.doubt or newest.age_s > max_age_h * HOUR_S:
            state = (newest.doubt or f"{newest.age_s / HOUR_S:.0f} h old") if newest else "none"
            remedy = "`make backup-list` shows what there is; the log of the cron job says why"
            wrong.append(
                Problem(f"backup of {piece}", state, f"a good one of the last {max_age_h:.0f} h", remedy)
            )
    last = max((found[piece].stamp for piece in expected if piece in found), default="never")
    return Line(
        "backups", f"{len(expected) - len(wrong)} of {len(expected)} good, the last of {last}", tuple(wrong)
    )


def rights(found: Iterable[Problem | str]) -> Line:
    """Undeclared rights, and the number of undeclared things that are harmless."""
    each = list(found)
    wrong = tuple(one for one in each if isinstance(one, Problem))
    harmless = len(each) - len(wrong)
    return Line("rights", f"{len(wrong)} undeclared, {harmless} harmless things beside", wrong)

"""`make verify`: what the lines of numbers say, and what they find wrong."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from blueprint.applied import Applied
from facts.backups import BackupState
from facts.docker import EngineState, read_engine
from facts.firewall import FirewallState, read_tables
from facts.gpu import GpuState
from facts.litellm import ProxyState, TeamState
from facts.ollama import GpuProcess, InstanceState, LoadedModel, OllamaState
from facts.postgres import ClusterState, DatabaseState
from facts.sshd import SshdLine, SshdState
from facts.stacks import Container, StacksState
from facts.uptime_kuma import KumaState, MonitorState
from operations.firewall import JUMPS
from operations.ollama import Placement
from phases import numbers
from phases.cards import full_uuids
from phases.hardware.firewall import ruleset
from phases.hardware.ollama import placements
from phases.verification import of_trial
from specs.problems import Problem
from tests.unit.declared import declared
from tests.unit.machines import cards, machine
from tests.unit.paths import FIXTURES

APPLIED = Applied(declared(), frozenset({"hardware", "litellm"}))


def running(*left_out: str) -> StacksState:
    names = [service.name for service in APPLIED.services if service.name not in left_out]
    return StacksState(containers={name: Container(name=name, health="healthy") for name in names})


def whats(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.what for problem in problems]


@pytest.mark.checklist("V.4", "V.5", "V.6")
def test_a_machine_that_is_as_its_profile_says() -> None:
    lines = list(numbers.machine(APPLIED, machine()))
    assert [line.what for line in lines] == ["cores", "RAM", "disk"]
    assert str(lines[0]).startswith("ok    cores       2 of an ")


def test_what_the_machine_lacks_is_in_its_own_line_and_everything_else_after_them() -> None:
    small = replace(machine(), memory=4 * 1024**3, clock_offset_s=3600.0)
    lines = {line.what: line for line in numbers.machine(APPLIED, small)}
    assert str(lines["RAM"]) == "FAIL  RAM         4.0 GiB"
    assert whats(lines["RAM"].problems) == ["memory"]
    assert whats(lines["clock"].problems) == ["clock"]
    assert not lines["cores"].problems


@pytest.mark.checklist("V.3")
def test_cards_that_do_not_answer_leave_the_instances_open() -> None:
    broken = GpuState(installed=True, error="driver not loaded")
    (line,) = numbers.cards(APPLIED, machine(), broken, OllamaState())
    assert line.found == "0 of 3: none"
    assert whats(line.problems) == ["NVIDIA driver"]


def test_a_model_that_yielded_to_a_container_is_not_missed() -> None:
    found = cards()
    expected = placements(APPLIED.blueprint, full_uuids(APPLIED.blueprint, found))

    def loaded(placement: Placement) -> InstanceState:
        model = LoadedModel(placement.model, 1, 1)
        return InstanceState("0.15.2", (), () if placement.instance in unloaded else (model,))

    def line() -> numbers.Line:
        state = OllamaState(
            {one.port: loaded(one) for one in expected},
            tuple(GpuProcess(one.gpu, 1, one.unit) for one in expected),
        )
        return list(numbers.cards(APPLIED, machine(), found, state))[1]

    unloaded = {"light"}
    assert line().found == "2 of 3 models resident, each on its own card; yielded to a container: light"
    assert not line().problems
    unloaded = {"heavy"}
    assert line().found == "2 of 3 models resident, each on its own card"
    assert whats(line().problems) == ["ollama@heavy.service"]


def test_an_open_firewall_and_what_docker_misses_are_reported() -> None:
    line = numbers.reachable(APPLIED, FirewallState(), EngineState())
    assert line.found.startswith("open to the world: 22, 80, 443; to containers: 80, 443, 11434")
    assert "IPv4: there is no chain HOST-CONTAINERS" in [problem.found for problem in line.problems]
    engine = read_engine((FIXTURES / "docker-engine.txt").read_text().splitlines())
    rules = {key: ruleset(APPLIED.blueprint).render(key) for key in ("v4", "v6")}
    tables = {
        family: {
            **read_tables(text.splitlines()),
            **{(table, chain): (f"-j {ours}",) for table, chain, ours in JUMPS},
        }
        for family, text in rules.items()
    }
    well = FirewallState(tables["v4"], tables["v6"])
    assert not numbers.reachable(APPLIED, well, engine).problems
    assert len(numbers.reachable(APPLIED, well, replace(engine, rules={})).problems) == 7


def test_who_may_log_in_is_reported() -> None:
    line = numbers.logins(SshdState(lines=(SshdLine("a:1", "maxauthtries", "9"),)))
    assert "MaxAuthTries 9 in a:1" in line.found
    assert "sshd: PasswordAuthentication" in whats(line.problems)


def test_a_container_that_is_missing_or_ill_is_named() -> None:
    every = len(APPLIED.services)
    assert numbers.containers(APPLIED, running()).found == f"{every} of {every} healthy"
    state = running("minio")
    ill = replace(state.containers["litellm-proxy"], health="unhealthy")
    line = numbers.containers(APPLIED, replace(state, containers={**state.containers, ill.name: ill}))
    assert line.found == f"{every - 2} of {every} healthy"
    assert [problem.found for problem in line.problems] == ["missing", "running, unhealthy"]


def test_a_proxy_that_coolify_runs_in_place_of_ours_is_not_missed() -> None:
    state = running("traefik")
    assert whats(numbers.containers(APPLIED, state).problems) == ["container traefik"]
    theirs = Container(name="coolify-proxy", project="coolify-proxy")
    state = replace(state, containers={**state.containers, "coolify-proxy": theirs})
    assert not numbers.containers(APPLIED, state).problems


def database(name: str) -> DatabaseState:
    fields: dict[str, Any] = dict.fromkeys(DatabaseState.__dataclass_fields__)
    return DatabaseState(**{**fields, "name": name})


def test_databases_are_there_and_answer_through_the_pooler() -> None:
    cluster = ClusterState(version="17", databases={"litellm": database("litellm")})
    assert whats(numbers.databases(APPLIED, cluster, {}).problems) == [
        f"database {each.name}" for each in APPLIED.databases if each.name != "litellm"
    ]
    line = numbers.databases(APPLIED, cluster, {"litellm": "litellm", "langfuse": "no such database"})
    assert "1 through PgBouncer" in line.found
    assert "database langfuse through PgBouncer" in whats(line.problems)


@pytest.mark.checklist("V.2")
def test_each_team_is_reported_with_what_it_spent() -> None:
    (team, *_) = declared().teams
    actual = TeamState(team.name, team.shown_as, 50.0, "30d", (), spend=1.25)
    (line,) = numbers.spend([team], ProxyState(teams=(actual,)))
    assert line.found == f"{team.shown_as}: $1.2500 of ${team.budget_usd:g} in 30d"
    (line,) = numbers.spend([team], ProxyState())
    assert whats(line.problems) == [f"team {team.name}"]


def test_monitors_of_ours_are_counted_and_those_down_named() -> None:
    def monitor(name: str, status: int, description: str, kind: str = "http") -> MonitorState:
        more: dict[str, Any] = {
            "id": 1,
            "name": name,
            "settings": {"type": kind},
            "notifications": frozenset(),
        }
        return MonitorState(**more, active=True, status=status, description=description, message="x")

    ours = "Declared by sourcefast: x"
    found = KumaState(
        monitors=(
            monitor("a", 1, ours),
            monitor("b", 0, ours),
            monitor("job", 0, ours, "push"),
            monitor("blog", 0, "mine"),
        )
    )
    line = numbers.monitors(found)
    assert line.found == "1 of 2 up"
    assert whats(line.problems) == ["monitor b"]


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (None, "none"),
        (BackupState("20260101T030000Z", time.time(), "shrunken"), "shrunken"),
        (BackupState("20260101T030000Z", time.time() - 40 * 3600, ""), "40 h old"),
    ],
)
def test_a_backup_that_is_missing_doubtful_or_old_is_named(state: BackupState | None, found: str) -> None:
    good = BackupState("20260102T030000Z", time.time(), "")
    saved = {"redis/shared-redis/all": good} | ({"s3/minio/langfuse": state} if state else {})
    line = numbers.backups(["redis/shared-redis/all", "s3/minio/langfuse"], saved, 26)
    assert line.found == "1 of 2 good, the last of 20260102T030000Z"
    assert [(problem.what, problem.found) for problem in line.problems] == [
        ("backup of s3/minio/langfuse", found)
    ]


def test_what_the_trial_of_the_gateway_found_is_in_the_report_by_name() -> None:
    output = [
        "ok    health (0.1 s)",
        "FAIL  route groq-fast: 404 decommissioned: use another",
        "1 failed: route groq-fast",
    ]
    tried: Any = SimpleNamespace(stdout_lines=output, did_error=lambda: False)
    (problem,) = of_trial(tried)
    assert (problem.what, problem.found) == ("LiteLLM, route groq-fast", "404 decommissioned: use another")
    dead: Any = SimpleNamespace(stdout_lines=[], did_error=lambda: True)
    assert whats(tuple(of_trial(dead))) == ["LiteLLM"]

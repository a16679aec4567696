"""The LLM gateway, used as the projects use it: routes, keys, budgets, fallbacks, cache (requirements 3)."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from blueprint import Secrets, litellm
from facts.litellm import PROGRAM
from group_data.gpu import ollama_instances
from group_data.shared import gateway
from lab.machine import Machine
from lab.paths import CHECKOUT
from lab.upstream import traffic
from tests.host.conftest import CompletedRun, await_answer, await_healthy, await_true, without_cron
from tests.services.declared import everything

PRICED = "gpt-4o-mini"
TEAMS = [project.team for project in everything().projects]
# What a model costs at least that is tried again as often as is declared.
RETRIES_S = gateway.router.num_retries * gateway.router.retry_after_s
Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(machine: Machine, forward: Callable[[str, int], int]) -> Iterator[Ask]:
    """Ask the gateway over HTTP, by default with the master key; None sends no body."""
    network = "{{.NetworkSettings.Networks.coolify.IPAddress}}"
    address = machine.run(f"docker inspect --format '{network}' {gateway.container}").stdout.strip()
    port = forward(address, gateway.port)
    master_key = Secrets.open("lab").provided("litellm/master_key")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:

        def send(path: str, body: Any = None, key: str = master_key) -> httpx.Response:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return client.request("GET" if body is None else "POST", path, json=body, headers=headers)

        yield send


def question(model: str, text: str = "ping", **options: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 16, **options}


def team_key(name: str) -> str:
    return Secrets.open("lab").provided(f"litellm/keys/{name}")  # as it is by now


def forget_cooldowns(machine: Machine) -> None:
    """Models that failed in a test are in use again: the gateway keeps in Redis and in memory which are not."""
    cache = gateway.cache
    forget = (
        f"import os, redis; r = redis.Redis('{cache.host}', {cache.port}, {cache.database}, "
        f"username='{cache.user}', password=os.environ['REDIS_PASSWORD']); "
        "[r.delete(key) for key in r.scan_iter('*:cooldown')]"
    )
    machine.run(f"docker exec {gateway.container} python3 -c {shlex.quote(forget)}")
    machine.run(f"docker restart {gateway.container}")
    await_healthy(machine)


@pytest.fixture
def failures(machine: Machine) -> Iterator[None]:
    """What a test breaks stays broken, without a watchdog's repair, and works again afterwards."""
    with without_cron(machine):
        yield
    traffic.recover(machine.lab)
    units = [instance.unit for instance in ollama_instances]
    machine.run(f"systemctl start {' '.join(units)}")
    await_answer(machine, *units)
    forget_cooldowns(machine)


def verified(machine: Machine, **changed: Any) -> list[str]:
    """What `make verify` says of the gateway."""
    asked: dict[str, Any] = {
        "chat": [model.name for model in gateway.models if not model.is_embedding],
        "embeddings": [model.name for model in gateway.models if model.is_embedding],
        "aliases": dict(gateway.aliases),
        "fallbacks": litellm.fallbacks(gateway),
        "keys": {team.name: team_key(team.name) for team in TEAMS},
        "priced": PRICED,
        "traced": True,
    }
    program = shlex.quote(PROGRAM.read_text())
    settings = shlex.quote(json.dumps(asked | changed))
    command = (
        f"echo {settings} | docker exec -i {gateway.container} python3 -c {program} {gateway.port} 60 verify"
    )
    return machine.run(command, timeout=900).stdout.splitlines()


@pytest.mark.checklist("1.1", "1.4", "1.7", "F.1")
def test_everything_that_is_declared_works(machine: Machine) -> None:
    output = verified(machine)
    assert [line for line in output if not line.startswith("ok ")] == []
    tried = len(gateway.models) + len(gateway.aliases) + len(litellm.fallbacks(gateway)) + len(TEAMS)
    assert len(output) == tried + 5  # health, cache, unknown key, budget, trace


def test_a_dead_route_is_named(machine: Machine, failures: None) -> None:
    traffic.disturb(machine.lab, "api.groq.com", missing_models=("qwen/qwen3-32b",))
    output = verified(machine, aliases={}, fallbacks={}, keys={}, priced="", traced=False)
    assert [line.split(":")[0] for line in output if line.startswith("FAIL")] == [
        "FAIL  route groq-qwen3-32b"
    ]


@pytest.mark.checklist("1.2", "F.2")
def test_the_gateway_is_not_published(machine: Machine) -> None:
    assert machine.run(f"docker port {gateway.container}").stdout == ""


@pytest.mark.checklist("1.7", "V.1")
def test_health_costs_nothing(machine: Machine, ask: Ask) -> None:
    def models_asked() -> int:  # other messages may reach Telegram at any moment
        return sum(bool(request["model"]) for request in traffic.requests(machine.lab))

    before = models_asked()
    assert ask("/health/liveliness", key="").status_code == 200
    assert ask("/health/readiness", key="").json()["db"] == "connected"
    assert models_asked() == before


@pytest.mark.parametrize("key", ["", "sk-0123456789abcdef0123456789", "sk-augmenter"])
def test_a_stranger_is_refused(ask: Ask, key: str) -> None:
    assert ask("/v1/chat/completions", question("default"), key=key).status_code == 401


@pytest.mark.checklist("1.5", "4.4", "5.4")
@pytest.mark.parametrize("team", [team.name for team in TEAMS])
def test_each_team_is_answered(ask: Ask, team: str) -> None:
    answer = ask("/v1/chat/completions", question("default"), key=team_key(team))
    assert answer.status_code == 200, answer.text
    assert ask("/team/list", key=team_key(team)).status_code == 403  # it administers nothing


@pytest.mark.checklist("V.2")
def test_a_spent_budget_refuses_its_team_alone(ask: Ask, deploy: Callable[..., CompletedRun]) -> None:
    team, other = TEAMS[0].name, TEAMS[1].name
    paid = question(PRICED)
    assert ask("/v1/chat/completions", paid, key=team_key(team)).status_code == 200

    def spent() -> float:
        return float(ask(f"/team/info?team_id={team}").json()["team_info"]["spend"])

    await_true(lambda: spent() > 0, 300, "spend of the team")
    assert ask("/team/update", {"team_id": team, "max_budget": spent() / 2}).status_code == 200
    refusal = ask("/v1/chat/completions", paid, key=team_key(team))
    assert refusal.status_code in (400, 429)
    assert "Budget" in refusal.text
    assert ask("/v1/chat/completions", paid, key=team_key(other)).status_code == 200
    # The next deploy gives it the declared budget back.
    assert deploy().rc == 0
    assert ask("/v1/chat/completions", paid, key=team_key(team)).status_code == 200


@pytest.mark.checklist("1.7")
def test_a_model_of_ours_that_is_down_is_stood_in_for(machine: Machine, ask: Ask, failures: None) -> None:
    light = next(model for model in gateway.models if model.instance == "light")
    machine.run("systemctl stop ollama@light.service")
    for asked in (light.name, "cheap"):
        started = time.monotonic()
        answer = ask("/v1/chat/completions", question(asked))
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-litellm-model-group"] == gateway.fallbacks[light.name][0]
        assert time.monotonic() - started < RETRIES_S


def test_each_model_of_ours_that_is_down_is_stood_in_for_by_the_next_in_its_chain(
    machine: Machine, ask: Ask, failures: None
) -> None:
    ours = [model for model in gateway.models if model.instance]
    for model in ours:
        machine.run(f"systemctl stop ollama@{model.instance}.service")
        answer = ask("/v1/chat/completions", question(model.name))
        if chain := gateway.fallbacks.get(model.name):
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-litellm-model-group"] == chain[0]
        else:  # declared so: it has no fallback
            assert answer.status_code >= 400, answer.text
        machine.run(f"systemctl start ollama@{model.instance}.service")
        await_answer(machine, f"ollama@{model.instance}.service")


def test_each_model_of_groqs_that_is_gone_is_stood_in_for_by_the_next_in_its_chain(
    machine: Machine, ask: Ask, failures: None
) -> None:
    for model in gateway.models:
        if model.name in gateway.fallbacks and model.provider:
            gone = model.model.partition("/")[2]
            traffic.disturb(machine.lab, "api.groq.com", missing_models=(gone,))
            answer = ask("/v1/chat/completions", question(model.name))
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-litellm-model-group"] == gateway.fallbacks[model.name][0]
            traffic.recover(machine.lab)


def test_a_whole_provider_that_is_down_is_stood_in_for(machine: Machine, ask: Ask, failures: None) -> None:
    traffic.disturb(machine.lab, "api.groq.com", status=500)
    for _ in range(2):  # three attempts the first time; the fourth failure takes the model out
        answer = ask("/v1/chat/completions", question("groq-analysis"))
        assert answer.headers["x-litellm-model-group"] == gateway.fallbacks["groq-analysis"][0]
    started = time.monotonic()
    ask("/v1/chat/completions", question("groq-analysis"))
    assert time.monotonic() - started < RETRIES_S


LITELLM_ONLY = ("--data", "phase=litellm")


def test_a_team_that_was_changed_by_hand_is_as_declared_again(
    ask: Ask, deploy: Callable[..., CompletedRun]
) -> None:
    team = TEAMS[1]
    by_hand = {"team_id": team.name, "max_budget": team.budget_usd + 1, "models": ["gpt-4o-mini"]}
    assert ask("/team/update", by_hand).status_code == 200
    assert ask("/v1/chat/completions", question("default"), key=team_key(team.name)).status_code == 401
    done = deploy(*LITELLM_ONLY)
    assert done.changed == ["Phase 1: litellm | LiteLLM | Teams and virtual keys"]
    assert ask("/v1/chat/completions", question("default"), key=team_key(team.name)).status_code == 200
    info = ask(f"/team/info?team_id={team.name}").json()["team_info"]
    assert (info["max_budget"], info["models"]) == (team.budget_usd, list(team.models))


def test_a_team_that_nobody_declares_is_named_and_removed_on_request_with_its_keys(
    ask: Ask, deploy: Callable[..., CompletedRun]
) -> None:
    key = "sk-left-over-0123456789abcdef"
    assert ask("/team/new", {"team_id": "left-over", "team_alias": "left-over"}).status_code == 200
    assert ask("/key/generate", {"key": key, "team_id": "left-over"}).status_code == 200
    run = deploy(*LITELLM_ONLY)
    assert run.changed == []
    assert "team left-over is not declared; keep it, or remove it with --data remove_teams=NAME" in run.output
    assert ask("/v1/models", key=key).status_code == 200
    gone = deploy(*LITELLM_ONLY, "--data", "remove_teams=left-over")
    assert gone.rc == 0, gone.output
    assert ask("/v1/models", key=key).status_code == 401
    assert "left-over" not in [team["team_id"] for team in ask("/team/list").json()]
    assert deploy(*LITELLM_ONLY, "--data", "remove_teams=left-over").changed == []


def test_a_rotated_key_takes_the_place_of_the_old_one_everywhere(
    machine: Machine, ask: Ask, deploy: Callable[..., CompletedRun]
) -> None:
    project = next(project for project in everything().projects if project.name == "coach-credit")
    team, other = project.team.name, next(each.name for each in TEAMS if each != project.team)
    old = Secrets.open("lab").provided(project.team.key_secret)
    rotate = [sys.executable, "-m", "blueprint.rotation", project.team.key_secret]
    done = subprocess.run(rotate, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert old not in done.stdout + done.stderr
    assert ask("/v1/models", key=old).status_code == 200, "nothing happens before the deploy"
    run = deploy("--data", f"phase=litellm,{project.phase}")
    assert run.rc == 0, run.output
    new = Secrets.open("lab").provided(project.team.key_secret)
    assert new != old
    assert old not in run.output and new not in run.output
    assert ask("/v1/models", key=old).status_code == 401
    assert ask("/v1/models", key=new).status_code == 200
    assert ask("/v1/models", key=team_key(other)).status_code == 200
    # Its containers have the new one, and with it their health is green.
    files = machine.run(f"grep -l {shlex.quote(new)} /opt/sourcefast/{project.name}/*.env").stdout.split()
    assert files, f"no container of {team} has its key"
    assert machine.run(f"grep -r {shlex.quote(old)} /opt/sourcefast", check=False).stdout == ""


def test_make_verify_says_in_its_status_what_is_dead(machine: Machine, failures: None) -> None:
    command = [str(Path(sys.executable).with_name("pyinfra")), "-y", "inventory.py", "verify.py"]

    def verify() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=1800
        )

    healthy = verify()
    output = healthy.stdout + healthy.stderr
    assert healthy.returncode == 0, output
    for line in ("cores", "RAM", "disk", "GPUs", "Ollama", "containers", "databases", "backups", "monitors"):
        assert f"ok    {line}" in output
    traffic.disturb(machine.lab, "api.groq.com", missing_models=("qwen/qwen3-32b",))
    machine.run("docker stop flower")
    try:
        ill = verify()
    finally:
        machine.run("docker start flower")
        await_healthy(machine)
    output = ill.stdout + ill.stderr
    assert ill.returncode != 0
    assert "LiteLLM, route groq-qwen3-32b" in output
    assert "container flower" in output
    assert "Traceback" not in output


def test_an_answer_is_kept_as_long_as_it_was_asked_to_be(ask: Ask) -> None:
    def answer(**options: Any) -> str:
        content = ask("/v1/chat/completions", question(PRICED, f"kept {started}", **options)).json()
        return str(content["id"])

    started = time.time()
    kept_s = 10
    cache = {"use-cache": True, "ttl": kept_s}
    first = answer(cache=cache)
    assert answer(cache=cache) == first
    assert answer() != first
    time.sleep(kept_s + 1)
    assert answer(cache=cache) != first


def test_who_asks_for_a_stream_gets_one_and_nobody_else(ask: Ask) -> None:
    for model in [model.name for model in gateway.models if not model.is_embedding]:
        answer = ask("/v1/chat/completions", question(model))
        assert answer.headers["content-type"].startswith("application/json"), model
        streamed = ask("/v1/chat/completions", question(model, stream=True))
        assert streamed.headers["content-type"].startswith("text/event-stream"), model
        assert streamed.text.rstrip().endswith("data: [DONE]"), streamed.text
        assert '"error"' not in streamed.text


@pytest.mark.checklist("1.2", "F.2")
def test_it_stays_within_its_memory(machine: Machine) -> None:
    state = "{{.State.OOMKilled}} {{.RestartCount}} {{.HostConfig.Memory}}"
    killed, restarts, limit = machine.run(
        f"docker inspect --format '{state}' {gateway.container}"
    ).stdout.split()
    assert (killed, restarts) == ("false", "0")
    assert int(limit) == 512 * 1024 * 1024

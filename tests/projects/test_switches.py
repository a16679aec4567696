"""What a run changes of the projects and what it leaves: switches, a second run, phases in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from group_data.voicejury import voicejury
from lab.machine import Machine
from tests.host.conftest import CompletedRun, await_healthy, cards, repair_instances
from tests.projects.conftest import PROJECTS
from tests.services.declared import everything

Deploy = Callable[..., CompletedRun]
HEAVY, LIGHT = map(everything().blueprint.instance, ("heavy", "light"))
WORKER = next(service for service in voicejury.services if service.unloads_model_of)
MARK = "/var/lib/sourcefast/time-sharing/voicejury-worker-heavy"
COACH = "Phase 5: coach_credit | Containers of coach-credit, of PgBouncer and of the dashboards"
YIELDS = "Phase 6: voicejury | Ollama light yields its card to voicejury-worker-heavy and returns"
PHASES = [project.phase for project in PROJECTS]
# Everything that is written for the containers and for the host's own scripts.
WRITTEN = (
    "find /opt/sourcefast /etc/sourcefast -type f -not -path '*/.reloaded/*' -print0"
    " | sort -z | xargs -0 sha256sum"
)


def environment(machine: Machine, container: str) -> dict[str, str]:
    """The environment of a running container."""
    template = "{{range .Config.Env}}{{println .}}{{end}}"
    output = machine.run(f"docker inspect --format '{template}' {container}").stdout
    return dict(line.partition("=")[::2] for line in output.splitlines() if line)


def test_a_second_run_changes_nothing(deploy: Deploy) -> None:
    assert deploy().changed == []


@pytest.fixture
def past_litellm(deploy: Deploy) -> Iterator[Callable[[str], CompletedRun]]:
    """coach-credit alone is switched; the others are the same code, and it has the fewest containers."""

    def switch(provider: str) -> CompletedRun:
        return deploy("--data", "phase=coach_credit", "--data", f"llm_provider={provider}")

    yield switch
    assert switch("litellm").rc == 0


def test_past_litellm_and_back(machine: Machine, past_litellm: Callable[[str], CompletedRun]) -> None:
    """The rollback of requirements 3.8: one word, and the project speaks to Ollama, healthy, while LiteLLM is down."""
    before = environment(machine, "coach-backend")
    assert (before["LLM_PROVIDER"], before["LITELLM_URL"]) == ("litellm", "http://litellm:4000")
    assert past_litellm("ollama").changed == [COACH]
    switched = environment(machine, "coach-backend")
    assert (switched["LLM_PROVIDER"], switched["OLLAMA_HOST"]) == (
        "ollama",
        f"http://host.docker.internal:{HEAVY.port}",
    )
    assert switched["GROQ_API_KEY"].startswith("gsk_")
    assert not {"LITELLM_URL", "LITELLM_API_KEY"} & switched.keys()
    assert past_litellm("ollama").changed == []
    assert past_litellm("litellm").changed == [COACH]
    assert environment(machine, "coach-backend") == before


@pytest.mark.checklist("6.7")
def test_ollama_light_yields_its_card_and_takes_it_back(machine: Machine, deploy: Deploy) -> None:
    """Tried at the first deploy; again where its mark is gone, and it fails where the card's memory is not free."""
    assert machine.run(f"cat {MARK}").stdout.strip()
    (uuid,) = (card for card in cards(machine) if card.startswith(LIGHT.gpu))
    index = machine.run(f"nvidia-smi --id={uuid} --query-gpu=index --format=csv,noheader").stdout.strip()
    try:
        machine.run(f"rm {MARK}; gpu-sim fill {index} 3300")
        failed = deploy("--data", "phase=voicejury")
        assert failed.rc != 0
        assert f"{WORKER.vram_mib} MiB without {LIGHT.model}" in failed.output
        assert machine.run(f"test -e {MARK}", check=False).returncode != 0
        machine.run(f"gpu-sim free {index}")
        assert deploy("--data", "phase=voicejury").changed == [YIELDS]
        loaded = machine.run(f"curl -fsS http://127.0.0.1:{LIGHT.port}/api/ps").stdout
        assert LIGHT.model in loaded
    finally:
        machine.run(f"gpu-sim free {index}")
        repair_instances(machine)


def test_phases_in_another_order_give_the_same_host(machine: Machine, deploy: Deploy) -> None:
    """The host forgets that it has the projects; what is shared forgets them with it, and they come back last first."""

    def written() -> dict[str, str]:
        lines = machine.run(WRITTEN).stdout.splitlines()
        return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}

    before = written()
    machine.run(f"cd /var/lib/sourcefast/phases && rm {' '.join(PHASES)}")
    assert deploy("--data", "phase=litellm,monitoring").rc == 0
    without = written()
    for file in ("redis/redis/users.acl", "pgbouncer/pgbouncer/userlist.txt", "monitoring/compose.yaml"):
        assert without[f"/opt/sourcefast/{file}"] != before[f"/opt/sourcefast/{file}"]
    for phase in reversed(PHASES):
        done = deploy("--data", f"phase={phase}")
        assert done.rc == 0, done.output
    assert written() == before
    await_healthy(machine)
    assert deploy().changed == []


def test_a_phase_alone_on_a_host_without_the_others_says_what_is_missing(
    machine: Machine, deploy: Deploy
) -> None:
    records = "/var/lib/sourcefast/phases"
    machine.run(f"mv {records}/monitoring {records}.monitoring")
    try:
        done: Any = deploy("--data", "phase=coach_credit")
        assert done.rc != 0
        assert "no monitoring (PgBouncer, the dashboards, Uptime Kuma and Crawl4AI)" in done.output
        assert "--data phase=monitoring,coach_credit" in done.output
    finally:
        machine.run(f"mv {records}.monitoring {records}/monitoring")

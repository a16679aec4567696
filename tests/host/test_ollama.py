"""The five instances: each with its model on its own card, also after failures (requirements 4.4)."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from blueprint.model import OllamaInstance
from group_data.celeron_g4930 import profile
from group_data.gpu import ollama_instances, ollama_models, ollama_version
from lab import upstream
from lab.machine import Machine
from tests.host.conftest import (
    Deploy,
    Forward,
    all_warm,
    await_true,
    declared_placement,
    repair_instances,
    resident,
)

pytestmark = pytest.mark.usefixtures("quiet")
INSTANCES = {instance.name: instance for instance in ollama_instances}
STORE = "/usr/share/ollama/.ollama/models"


@pytest.fixture(autouse=True)
def warm_again(machine: Machine) -> Iterator[None]:
    """Every instance warm after each test, so that none pays for the one before it."""
    yield
    repair_instances(machine)


def show(machine: Machine, unit: str, name: str) -> str:
    return machine.run(f"systemctl show --value --property={name} {unit}").stdout.strip()


def stored(machine: Machine, instance: OllamaInstance) -> set[str]:
    """The models that an instance finds in its store."""
    output = machine.run(f"curl -fsS http://127.0.0.1:{instance.port}/api/tags").stdout
    return {one["name"] for one in json.loads(output)["models"]}


def invocations(machine: Machine) -> dict[str, str]:
    """An identity of one start of an instance."""
    return {name: show(machine, instance.unit, "InvocationID") for name, instance in INSTANCES.items()}


@pytest.mark.checklist("2.7")
@pytest.mark.parametrize("instance", ollama_instances, ids=lambda instance: str(instance.name))
def test_an_instance_answers_with_its_own_model(
    machine: Machine, forward: Forward, instance: OllamaInstance
) -> None:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{forward('127.0.0.1', instance.port)}", timeout=60, trust_env=False
    ) as api:
        assert api.get("/api/version").json() == {"version": ollama_version}
        ask = {"model": instance.model, "prompt": "Are you there?", "stream": False}
        answer = api.post("/api/generate", json=ask).json()
        assert answer["done"] is True
        assert answer["response"]
        loaded = api.get("/api/ps").json()["models"]
    assert [one["name"] for one in loaded] == [instance.model]
    assert loaded[0]["size_vram"] == loaded[0]["size"], "a part of it is computed by the CPU"
    assert loaded[0]["context_length"] == instance.context_length
    assert loaded[0]["expires_at"] > "2100", "it would be unloaded"


def test_instances_do_not_run_as_root(machine: Machine) -> None:
    for instance in ollama_instances:
        pid = show(machine, instance.unit, "MainPID")
        assert machine.run(f"ps -o user= -p {pid}").stdout.strip() == "ollama"


def test_a_killed_instance_comes_back_warm(machine: Machine) -> None:
    unit = INSTANCES["heavy"].unit
    before = invocations(machine), int(show(machine, unit, "NRestarts"))
    machine.run(f"systemctl kill --signal=KILL {unit}")
    await_true(lambda: show(machine, unit, "NRestarts") == str(before[1] + 1), 120, "restart by systemd")
    await_true(lambda: all_warm(machine), 300, "warm instance")
    after = invocations(machine)
    assert {name for name in after if after[name] != before[0][name]} == {"heavy"}


def test_a_restarted_instance_comes_back_warm(machine: Machine) -> None:
    machine.run(f"systemctl restart {INSTANCES['twitch'].unit}")
    await_true(lambda: all_warm(machine), 300, "warm instance")


def test_a_full_queue_is_refused(machine: Machine, forward: Forward) -> None:
    instance = INSTANCES["vision"]
    places = instance.max_queue + profile.ollama_parallel["vision"]
    port = forward("127.0.0.1", instance.port)
    work = f"/var/lib/gpu-sim/ollama-work-{instance.port}"
    machine.run(f"echo 600 >{work}")

    def ask(number: int) -> int:
        question = {"model": instance.model, "prompt": f"Question {number}", "stream": False}
        return httpx.post(
            f"http://127.0.0.1:{port}/api/generate", json=question, timeout=600, trust_env=False
        ).status_code

    with ThreadPoolExecutor(places + 5) as people:
        asking = [people.submit(ask, number) for number in range(places + 5)]
        await_true(lambda: sum(one.done() for one in asking) == 5, 120, "refusal of five requests too many")
        machine.run(f"rm {work}")
        answers = sorted(one.result() for one in asking)
    assert answers == [200] * places + [503] * 5


def test_all_models_are_in_one_store(machine: Machine) -> None:
    for instance in ollama_instances:
        assert stored(machine, instance) == {one.name for one in ollama_models}, instance.name
    assert machine.run(f"find {STORE} ! -user ollama").stdout == ""


def test_missing_models_are_pulled_once(machine: Machine, deploy: Deploy) -> None:
    machine.run(f"rm -r {STORE}/manifests/* {STORE}/blobs/*")
    before = len(upstream.requests(machine.lab, "registry.ollama.ai"))
    done = deploy()
    assert done.changed == ["Phase 0: hardware | Ollama | Models"], done.output
    asked = [one["path"] for one in upstream.requests(machine.lab, "registry.ollama.ai")[before:]]
    assert sum("/manifests/" in path for path in asked) == len(ollama_models)
    layers = [path.rpartition("/")[2] for path in asked if "/blobs/" in path]
    assert layers
    assert len(layers) == len(set(layers)), "a layer was fetched twice"
    for instance in ollama_instances:
        assert stored(machine, instance) == {one.name for one in ollama_models}, instance.name


def test_an_environment_newer_than_the_process_restarts_that_instance_only(
    machine: Machine, deploy: Deploy
) -> None:
    """What a run leaves behind that died between the file and the restart."""
    before = invocations(machine)
    machine.run("touch /etc/ollama/heavy.env")
    done = deploy()
    assert done.changed == ["Phase 0: hardware | Ollama | Ollama instances"], done.output
    after = invocations(machine)
    assert {name for name in after if after[name] != before[name]} == {"heavy"}
    await_true(lambda: all_warm(machine), 300, "warm instance")


def test_an_edited_environment_is_put_back(machine: Machine, deploy: Deploy) -> None:
    before = invocations(machine)
    machine.run("sed -i s/OLLAMA_NUM_PARALLEL=.*/OLLAMA_NUM_PARALLEL=1/ /etc/ollama/light.env")
    assert deploy().rc == 0
    after = invocations(machine)
    assert {name for name in after if after[name] != before[name]} == {"light"}
    pid = show(machine, INSTANCES["light"].unit, "MainPID")
    assert (
        f"OLLAMA_NUM_PARALLEL={profile.ollama_parallel['light']}"
        in machine.run(f"cat /proc/{pid}/environ").stdout
    )


def test_a_model_that_was_unloaded_is_loaded_again_by_a_deploy(machine: Machine, deploy: Deploy) -> None:
    """As a container leaves it that took its turn on the card (requirements 4.2)."""
    url = f"http://127.0.0.1:{INSTANCES['light'].port}/api/generate"
    question = json.dumps({"model": INSTANCES["light"].model, "keep_alive": 0})
    machine.run(f"curl -fsS --max-time 20 --data {shlex.quote(question)} {url}")
    await_true(lambda: not resident(machine)["light"], 120, "instance without its model")
    assert deploy().changed == ["Phase 0: hardware | Ollama | Each model is resident on its card"]
    assert all_warm(machine)


def test_a_model_on_the_cpu_fails_the_deploy(machine: Machine, deploy: Deploy) -> None:
    """Somebody else takes the card's memory while an instance restarts: a part of its model goes to the CPU."""
    instance = INSTANCES["reasoning"]
    card = declared_placement(machine)[instance.unit]
    machine.run(f"systemctl stop {instance.unit}; gpu-sim fill {card} 4000; systemctl start {instance.unit}")
    try:
        machine.run(f"systemctl start {instance.warmup_unit}")  # waits until it is loaded
        assert resident(machine)["reasoning"] == []
        done = deploy()
        assert done.rc != 0
        assert "% on the GPU" in done.output, done.output
        assert card in done.output
        assert "Traceback" not in done.output
    finally:
        machine.run(f"gpu-sim free {card}; systemctl restart {instance.unit}")


def test_a_missing_card_stops_the_deploy_and_is_named(machine: Machine, deploy: Deploy) -> None:
    instance = INSTANCES["vision"]
    card = declared_placement(machine)[instance.unit]
    machine.run(f"gpu-sim take-away {card}")
    try:
        done = deploy()
        assert done.rc != 0
        assert instance.gpu in done.output, done.output
        assert "found:" in done.output
        assert "fix:" in done.output
        assert "Traceback" not in done.output
    finally:
        machine.run("gpu-sim give-back")


def test_an_instance_waits_for_its_card(machine: Machine) -> None:
    instance = INSTANCES["vision"]
    card = declared_placement(machine)[instance.unit]
    machine.run(f"gpu-sim take-away {card}")
    try:
        machine.run(f"systemctl restart --no-block {instance.unit}")
        await_true(lambda: show(machine, instance.unit, "SubState") == "start-pre", 60, "wait for the card")
        time.sleep(3)
        assert show(machine, instance.unit, "SubState") == "start-pre"
        waiting = machine.run(f"/opt/scripts/wait-for-gpu.sh {card} 0", check=False)
        assert waiting.returncode == 1
        assert f"expected: card {card}" in waiting.stderr
    finally:
        machine.run("gpu-sim give-back")
    await_true(lambda: all_warm(machine), 300, "warm instance once its card is back")

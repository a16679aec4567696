"""Cards, driver, Ollama and the models in memory (requirements 1.4 and 4)."""

from __future__ import annotations

import pytest

from blueprint import contents
from blueprint.model import Gpu, OllamaInstance
from checks.expect import expect, no_problems
from checks.server import Server
from checks.system import system
from facts.gpu import Gpus
from facts.ollama import Instances, OllamaState
from facts.whisper_asr import WhisperAsr
from operations import ollama, whisper_asr
from phases.cards import old_driver
from phases.hardware.ollama import placements
from phases.hardware.whisper import service
from specs.problems import Problem

pytestmark = pytest.mark.hardware


def instances(server: Server) -> OllamaState:
    """What the instances have in memory, and who computes on the cards."""
    return server.fact(Instances, ports=[one.port for one in server.blueprint.ollama_instances])


def test_driver_answers(server: Server) -> None:
    """The driver is loaded and new enough for Ollama, and of one version with its library."""
    state = server.fact(Gpus)
    expect("nvidia-smi", state.error or "answers", "answers", "dmesg; a new driver is loaded by a reboot")
    no_problems(old_driver(server.blueprint, state, "reboot, so that the installed one is loaded"))


def test_card_is_in_its_place(server: Server, gpu: Gpu) -> None:
    """The card answers, is in its slot, and has the memory that the budget counts with."""
    cards = server.fact(Gpus).matching(gpu.uuid)
    found = [
        (card.bus, card.memory_total_mib is not None and card.memory_total_mib >= gpu.vram_mib * 0.95)
        for card in cards
    ]
    expect(f"card {gpu.uuid}", found, [(gpu.bus, True)], "nvidia-smi; dmesg | grep -i xid; reseat it")


def test_cards_have_their_power_limits(server: Server) -> None:
    """Every declared power limit is in force; without one, the maker's is."""
    expected = {gpu.uuid: gpu.power_limit_w for gpu in server.blueprint.gpus if gpu.power_limit_w is not None}
    found = {uuid: card.power_limit_w for uuid in expected for card in server.fact(Gpus).matching(uuid)}
    expect("power limits", found, expected, "systemctl restart gpu-power-limits")


def test_no_other_card(server: Server) -> None:
    """No card is there that is not declared: it would be used by nobody, or by CUDA's default order."""
    declared = set(server.uuids.values())
    others = [card.uuid for card in server.fact(Gpus).gpus if card.uuid not in declared]
    expect("cards that are not declared", others, [], "declare them in group_data/gpu.py")


def test_instance_has_the_release(server: Server, instance: OllamaInstance) -> None:
    """The instance answers, and is the installed release."""
    found = instances(server).instances.get(instance.port)
    version = found.version if found else "no answer"
    expect(instance.unit, version, server.blueprint.ollama_version, f"systemctl restart {instance.unit}")


def test_instance_has_its_environment(server: Server, instance: OllamaInstance) -> None:
    """Its running process has the declared variables: the file may be newer than the process."""
    text = contents.ollama_environment(
        server.blueprint, instance, server.uuids[server.blueprint.gpu_of(instance).uuid]
    )
    expected = dict(line.split("=", 1) for line in text.splitlines())
    found = system(server)["environments"].get(instance.unit, {})
    expect(f"environment of {instance.unit}", found, expected, f"systemctl restart {instance.unit}")


@pytest.mark.checklist("V.3")
def test_model_is_resident_on_its_card(server: Server, instance: OllamaInstance) -> None:
    """The model is in memory, wholly on its own card: the CPU would compute the rest, ten times slower."""
    desired = [one for one in placements(server.blueprint, server.uuids) if one.instance == instance.name]
    no_problems(server.settled(lambda: ollama.misplaced(instances(server), desired), bool))


def test_whisper_serves_its_model(server: Server) -> None:
    """The shared recogniser has loaded the declared model; requirements 4.5 saw a smaller one."""
    blueprint = server.blueprint

    def problems() -> list[Problem]:
        state = server.fact(WhisperAsr, container=blueprint.whisper.name, port=blueprint.whisper.port)
        return list(whisper_asr.problems(state, service(blueprint)))

    no_problems(server.settled(problems, bool))

"""Everything that is limited: each sum, what breaks it, and `make budget`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from blueprint import Blueprint, DeclarationError, Violation, budget, group_data
from blueprint.disk import size_mib
from blueprint.memory import MemoryBudget, MemoryUse
from blueprint.model import Http, PostgresServer, Service, Stack
from phases.preflight import machine_problems
from tests.unit.declared import LIGHT, TWITCH, declared
from tests.unit.machines import GIB, machine


def container(**fields: Any) -> Stack:
    """A stack of one container."""
    sound: dict[str, Any] = {
        "name": "try",
        "image": "try:1.0.0",
        "memory": "512m",
        "port": 80,
        "health": Http("/health"),
    }
    return Stack(name="try", phase="monitoring", services=(Service(**sound | fields),))


def without_voicejury(profile: str = "celeron_g4930", **replaced: Any) -> Blueprint:
    """What is declared, but for the one container that has a card."""
    return declared(profile, leave_out=("voicejury",), **replaced)


def refused(**replaced: Any) -> list[str]:
    """What is said of declarations that make no sense."""
    with pytest.raises(DeclarationError) as caught:
        without_voicejury(**replaced)
    return [str(problem) for problem in caught.value.problems]


def beside(**fields: Any) -> list[Stack]:
    """The declared stacks, and one more container."""
    return [*declared().shared_stacks, container(**fields)]


def on_card(blueprint: Blueprint, uuid: str) -> Any:
    return next(card for card in blueprint.vram if card.gpu.uuid == uuid)


# --- memory


def test_memory_is_every_limit_and_everything_measured() -> None:
    blueprint = without_voicejury(shared_stacks=beside(measured_memory="100m"))
    sums = blueprint.memory_budget()
    limits = sum(service.memory_mib for stack in blueprint.stacks for service in stack.services)
    assert sums.limits_mib == limits + 4096 + 3 * 100 + 2000
    assert MemoryUse("try", "try", 512, 100) in sums.uses
    assert sums.most_mib == sums.measured_mib + sum(use.limit_mib for use in sums.unmeasured)
    assert sums.capacity == "18432 MiB = 12288 of memory + 6144 of zram"
    assert declared("i7_9700k").memory_budget().capacity == "43008 MiB = 28672 of memory + 14336 of zram"


def test_what_is_taken_for_certain_must_fit() -> None:
    room = 18432 - without_voicejury().memory_budget().measured_mib
    without_voicejury(shared_stacks=beside(memory="32g", measured_memory=f"{room}m"))
    (problem,) = refused(shared_stacks=beside(memory="32g", measured_memory=f"{room + 1}m"))
    assert problem.startswith("group_data/celeron_g4930.py: memory is asked for 18433 MiB (")
    assert f"try {room + 1}" in problem
    assert "but must be asked for at most 18432 MiB = 12288 of memory + 6144 of zram; leave" in problem
    # The same fits the larger machine.
    without_voicejury("i7_9700k", shared_stacks=beside(memory="32g", measured_memory=f"{room + 1}m"))


def test_limits_are_ceilings_that_are_reported() -> None:
    full = without_voicejury(shared_stacks=beside(memory="32g"))
    (sentence,) = [sentence for sentence in full.warnings() if "the limits add up to" in sentence]
    assert f"memory: the limits add up to {full.memory_budget().limits_mib} MiB" in sentence
    assert "the machine has 18432 MiB = 12288 of memory + 6144 of zram" in sentence


@pytest.mark.parametrize(("expected", "reported"), [(9000, 0), (9001, 1)])
def test_nine_tenths_of_the_memory_are_reported(expected: int, reported: int) -> None:
    budget = MemoryBudget((MemoryUse("a", "b", 9500, expected),), 8000, 2000)
    assert len(list(budget.warnings())) == reported
    assert not list(budget.problems("file"))


def test_more_cannot_be_expected_than_is_allowed() -> None:
    with pytest.raises(DeclarationError, match="measured_memory is '513m', but must be at most 512m"):
        container(measured_memory="513m")
    with pytest.raises(DeclarationError, match="measured_memory is 'much'"):
        container(measured_memory="much")


def test_the_preflight_counts_with_the_memory_that_is_really_there() -> None:
    room = 18432 - without_voicejury().memory_budget().measured_mib
    blueprint = without_voicejury(shared_stacks=beside(memory="32g", measured_memory=f"{room - 1000}m"))
    assert [one for one in machine_problems(blueprint, machine(blueprint)) if "budget" in one.what] == []
    (problem,) = [
        one
        for one in machine_problems(blueprint, machine(blueprint, memory=11 * GIB))
        if "budget" in one.what
    ]
    assert problem.what == "budget of memory"
    assert problem.expected == "asked for at most 16896 MiB = 11264 of memory + 5632 of zram"


# --- cards


WORKER = {"name": "separator", "gpu": LIGHT, "vram_mib": 5120}


def test_a_container_takes_turns_with_the_model_that_it_unloads() -> None:
    card = on_card(without_voicejury(shared_stacks=beside(**WORKER, unloads_model_of="light")), LIGHT)
    assert [share.what for share in card.shares] == [
        "weights of qwen3:4b",
        "KV cache of light",
        "Ollama's overhead",
    ]
    assert [(share.what, share.mib) for share in card.working] == [("separator", 5120)]
    assert card.total_mib == 5120


def test_a_container_that_unloads_nothing_needs_its_room_all_the_time() -> None:
    (problem,) = refused(shared_stacks=beside(**WORKER))
    assert (
        "gpus.GPU-85c38fae is asked for weights of qwen3:4b 2480 + KV cache of light 1836 + Ollama's overhead 512"
        " + separator 5120 = 9948 MiB, but must be asked for at most the 8192 MiB of the RTX 3070" in problem
    )


def test_turns_do_not_help_where_the_container_alone_is_too_large() -> None:
    (problem,) = refused(shared_stacks=beside(**WORKER | {"vram_mib": 8193}, unloads_model_of="light"))
    assert "is asked for separator 8193 = 8193 MiB" in problem


def test_what_stays_on_the_card_counts_while_the_container_works() -> None:
    on_twitch = {"name": "separator", "gpu": TWITCH, "unloads_model_of": "twitch"}
    card = on_card(without_voicejury(shared_stacks=beside(**on_twitch, vram_mib=8192 - 1229)), TWITCH)
    assert [share.what for share in card.working] == ["whisper", "separator"]
    (problem,) = refused(shared_stacks=beside(**on_twitch, vram_mib=8193 - 1229))
    assert "is asked for whisper 1229 + separator 6964 = 8193 MiB" in problem


def test_a_card_above_nine_tenths_is_reported() -> None:
    warnings = without_voicejury(
        shared_stacks=beside(**WORKER | {"vram_mib": 7400}, unloads_model_of="light")
    ).warnings()
    assert "card GPU-85c38fae (RTX 3070): separator 7400 = 7400 MiB, more than 90 % of its 8192" in warnings


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        (
            {"gpu": "GPU-ffffffff", "vram_mib": 1},
            "stacks.try.try.gpu is GPU-ffffffff, but must be exactly one of",
        ),
        (
            {"gpu": LIGHT, "vram_mib": 1, "unloads_model_of": "heavy"},
            "stacks.try.try.unloads_model_of is heavy, but must be an instance on its card: light",
        ),
    ],
)
def test_a_container_on_a_card_that_makes_no_sense(fields: dict[str, Any], output: str) -> None:
    (problem,) = refused(shared_stacks=beside(**fields))
    assert output in problem


def test_what_needs_a_card_is_declared_with_one() -> None:
    with pytest.raises(DeclarationError, match="vram_mib is 5, but must be declared with gpu"):
        container(vram_mib=5)
    with pytest.raises(DeclarationError, match="vram_mib is None, but must be declared with gpu"):
        container(gpu=LIGHT)
    with pytest.raises(DeclarationError, match="unloads_model_of is 'light', but must be declared with gpu"):
        container(unloads_model_of="light")


# --- disk


def test_the_disk_is_a_sum_of_what_is_certain_and_what_is_estimated() -> None:
    blueprint = declared()
    uses = {use.what: use for use in blueprint.disk_budget().uses}
    assert uses["swap"].mib == 24 * 1024
    assert uses["models"].mib == 4960 + 2480 + 4673
    assert uses["build cache"].mib == 5120
    assert uses["backups"].mib == 8 * 1024
    images = {service.image for stack in blueprint.stacks for service in stack.services if not service.gpu}
    assert f"estimate: {len(images)} x 1024 + " in uses["images"].arithmetic
    assert blueprint.disk_budget().certain_mib == uses["swap"].mib + uses["models"].mib
    assert blueprint.disk_budget().size_mib == 229 * 1024


def test_swap_and_models_must_fit_the_disk() -> None:
    (problem,) = refused(swap_gib=220)
    assert problem == (
        "group_data/celeron_g4930.py: disk is asked for swap 225280 + models 12113 = 237393 MiB, but must be asked"
        " for at most its 234496 MiB; take a smaller swap_gib, smaller models, or a larger disk."
    )


def test_a_disk_that_the_estimates_fill_is_reported() -> None:
    (sentence,) = [
        sentence for sentence in declared(swap_gib=190).warnings() if sentence.startswith("disk: ")
    ]
    assert sentence.startswith("disk: swap 194560 + models 12113 + images ")
    assert not [sentence for sentence in declared().warnings() if sentence.startswith("disk: ")]


def test_the_preflight_counts_with_the_disk_that_is_really_there() -> None:
    blueprint = declared()
    small = replace(machine(blueprint).root_disk, size=32 * GIB)
    (problem,) = [
        one
        for one in machine_problems(blueprint, machine(blueprint, root_disk=small))
        if "budget" in one.what
    ]
    assert problem.what == "budget of disk"
    assert problem.expected == "asked for at most its 32768 MiB"


def test_an_image_that_one_of_its_containers_computes_with_has_cuda_in_it() -> None:
    def images(**replaced: Any) -> str:
        return next(use.arithmetic for use in declared(**replaced).disk_budget().uses if use.what == "images")

    assert images(optional_services=["voicejury-worker-pool"]) == images()


@pytest.mark.parametrize(("size", "mib"), [("10m", 10), ("5GB", 5120), ("1k", 1), ("2048KB", 2)])
def test_sizes_as_docker_has_them(size: str, mib: int) -> None:
    assert size_mib(size) == mib


def test_no_size() -> None:
    with pytest.raises(ValueError, match="not a size: '10'"):
        size_mib("10")


# --- what is counted elsewhere, and reported here


def test_connections_above_nine_tenths_are_reported() -> None:
    total = without_voicejury().connections.total
    allowed = total + 1
    (sentence,) = [
        sentence
        for sentence in without_voicejury(postgres=PostgresServer(max_connections=allowed)).warnings()
        if "connections" in sentence
    ]
    assert sentence.endswith(f"= {total} of {allowed}, more than 90 %")
    (problem,) = refused(postgres=PostgresServer(max_connections=total))
    assert f"= {total} of {total}, but must be more than {total}" in problem


# --- make budget


def test_every_sum_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert budget.main() == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for name in ("celeron_g4930", "i7_9700k"):
        blueprint = declared(name)
        assert any(line.startswith(f"{name}: ") for line in shown)
        memory, disk = blueprint.memory_budget(), blueprint.disk_budget()
        assert f"sum {memory.limits_mib} {memory.measured_mib}" in shown
        assert f"sum {disk.total_mib} of {disk.size_mib}; {disk.certain_mib} of it for certain" in shown
        for card in blueprint.vram:
            assert f"{card.gpu.uuid} {card.gpu.model}" in shown
    # 36 layers x 8 heads x 128 x 2 x 34/32 bytes x 4096 tokens: 306 MiB a request.
    kv = "2 x 36 layers x 8 heads x 128 x 34/32 bytes x 4096 tokens x"
    assert f"KV cache of heavy 918 {kv} 3 requests" in shown
    assert f"KV cache of heavy 1836 {kv} 6 requests" in shown
    blueprint = declared()
    assert f"sum {blueprint.connections.total} of max_connections 100" in shown
    text = "\n".join(shown)
    for index in blueprint.redis_indexes:
        assert f"{index.index} {index.usage}" in text
    for job in blueprint.cron_jobs:
        assert f"{job.schedule} {job.name} {job.lasts_min} {job.lock_name}" in text
    for service in (service for stack in blueprint.stacks for service in stack.services):
        assert re.search(rf"^{service.name} ", text, re.MULTILINE)
    assert "9000 shared-whisper 127.0.0.1" in shown
    assert "11434 ollama@heavy.service containers" in shown


def test_what_does_not_fit_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> group_data.GroupData:
        raise DeclarationError([Violation("group_data/gpu.py", "gpus.GPU-1", "full", "less full")])

    monkeypatch.setattr(group_data, "read", refuse)
    assert budget.main() == 1
    assert capsys.readouterr() == ("", "group_data/gpu.py: gpus.GPU-1 is full, but must be less full.\n")

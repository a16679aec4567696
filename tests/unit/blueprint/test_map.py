"""`make map`: everything declared is on the page, and nothing of the page is elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from blueprint import Blueprint
from blueprint import map as drawing
from blueprint.model import CronJob, Http, Service, Stack
from tests.unit.declared import LIGHT, declared

# What is left open by an element that has no end.
VOID = frozenset({"meta", "br"})


class Page(HTMLParser):
    """What a browser and a screen reader make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        self.close()
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def blueprint() -> Blueprint:
    """What is declared, and a container that computes on a card in turn with its model."""
    worker = Service(
        name="separator",
        image="separator:1.0.0",
        memory="6g",
        measured_memory="3g",
        port=80,
        health=Http("/health"),
        gpu=LIGHT,
        vram_mib=5120,
        unloads_model_of="light",
    )
    stacks = [*declared().shared_stacks, Stack(name="studio", phase="monitoring", services=(worker,))]
    return declared(leave_out=("voicejury",), shared_stacks=stacks)


@pytest.fixture(scope="module")
def page(blueprint: Blueprint) -> Page:
    return Page(drawing.page(blueprint))


def test_every_container_is_on_it(blueprint: Blueprint, page: Page) -> None:
    for stack in blueprint.stacks:
        assert f" {stack.name} phase {stack.phase}" in page.text
        for service in stack.services:
            assert service.name in page.ids
            shown = [*service.names, service.image, service.memory, *service.domains, service.database]
            for word in filter(None, shown):
                assert word in page.text, f"{word} of {service.name}"
            for port in (service.port, service.publish, *service.public):
                assert port is None or f":{port}" in page.text
            bar = next(
                one["aria-label"]
                for one in page.all("svg")
                if one["aria-label"].startswith(f"{service.name}: ")
            )
            assert f"at most {service.memory_mib} MiB" in bar


def test_every_card_is_on_it(blueprint: Blueprint, page: Page) -> None:
    words = [one["aria-label"] for one in page.all("svg")]
    for card in blueprint.vram:
        assert f"{card.gpu.model} {card.gpu.bus} · {card.gpu.uuid} · {card.gpu.vram_mib} MiB" in page.text
        total = sum(share.mib for share in card.shares)
        assert any(
            one.startswith("resident: ") and one.endswith(f"= {total} of {card.gpu.vram_mib} MiB")
            for one in words
        )
        for share in (*card.shares, *card.working):
            assert f"{share.what} {share.mib} MiB" in page.text
    assert "while a container computes: separator 5120 = 5120 of 8192 MiB" in words
    assert "while separator computes:" in page.text
    for instance in blueprint.ollama_instances:
        assert f"{instance.unit} :{instance.port} · {instance.model} · " in page.text
    whisper = blueprint.whisper
    assert f"{whisper.name} 127.0.0.1:{whisper.port} · {whisper.model} {whisper.quantization}" in page.text
    assert whisper.image in page.text


def test_what_the_projects_have_is_on_it(blueprint: Blueprint, page: Page) -> None:
    for database in blueprint.databases:
        extensions = ", ".join(database.extensions) or "none"
        assert f"{database.name} {database.role} {extensions} {database.pool} {database.direct}" in page.text
    for index in blueprint.redis_indexes:
        assert f"{index.index} {index.usage} {', '.join(index.users)}" in page.text
    for team in blueprint.teams:
        assert f"{team.shown_as} {team.key_alias} ${team.budget_usd:g}" in page.text
    for model in blueprint.gateway.models:
        then = " → ".join(blueprint.gateway.fallbacks.get(model.name, ())) or "none"
        assert model.name in page.text
        assert then in page.text


def test_the_machine_is_on_it(blueprint: Blueprint, page: Page) -> None:
    assert f"{blueprint.profile.cpu_model}, {blueprint.profile.cores} cores" in page.text
    memory = blueprint.memory_budget()
    assert f"limits: {memory.limits_mib} MiB, the machine has {memory.capacity}" in page.text
    assert f"measured: {memory.measured_mib} MiB" in page.text
    for port in blueprint.open_tcp_ports:
        assert f"{port}/tcp" in page.text
    for job in blueprint.cron_jobs:
        assert f"{job.name} " in page.text
        assert f"lock {job.lock_name}" in page.text
    for sentence in blueprint.warnings():
        assert sentence in page.text


def test_the_page_is_complete_in_itself(page: Page, blueprint: Blueprint) -> None:
    text = drawing.page(blueprint)
    assert not page.open
    for attribute in ("src=", "@import", "url(", "<link", "<script"):
        assert attribute not in text
    assert {one["href"][0] for one in page.all("a")} <= {"#"}


def test_a_reader_without_a_screen_gets_it_too(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.ids) == len(set(page.ids))
    for one in page.all("svg"):
        assert one["role"] == "img"
        assert one["aria-label"]
    for one in page.all("a"):
        assert one["href"][1:] in page.ids
    for tag, attributes in page.elements:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in page.ids, tag
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_bars_end_within_their_frame(page: Page) -> None:
    for one in page.all("rect"):
        assert float(one.get("x", 0)) + float(one["width"]) <= 100.1


def test_what_is_declared_is_no_markup(blueprint: Blueprint) -> None:
    index = declared().shared_redis_indexes[0]
    text = drawing.page(
        declared(
            shared_redis_indexes=[
                replace(index, usage="<b>queues</b> & more"),
                *declared().shared_redis_indexes[1:],
            ]
        )
    )
    assert "&lt;b&gt;queues&lt;/b&gt; &amp; more" in text


@pytest.mark.parametrize(
    ("schedule", "times", "marks"),
    [
        ("*/5 * * * *", "every 5 minutes", 1),
        ("0 4 * * *", "every day 04:00", 7),
        ("17 2 * * 0", "Sunday 02:17", 1),
        ("0 3,15 * * 1,4", "Monday, Thursday 03:00, 15:00", 4),
    ],
)
def test_when_a_job_runs(schedule: str, times: str, marks: int) -> None:
    run = drawing._run(CronJob(name="job", schedule=schedule, lasts_min=30))
    assert (run.times, len(run.marks)) == (times, marks)


def test_both_environments_and_profiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "map.html"
    assert drawing.main(["--profile", "i7_9700k", "--output", str(output)]) == 0
    assert "i7-9700K, 8 cores" in output.read_text()
    assert capsys.readouterr().out == f"{output.as_uri()}\n"
    assert drawing.main(["--profile", "i7", "--output", str(output)]) == 1
    assert "hardware_profile is 'i7', but must be one of" in capsys.readouterr().err

"""One page a phase: everything of it is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from blueprint import DeclarationError, Violation
from phases import Phase, pages, phases_of, required_containers
from tests.unit.declared import declared


@pytest.fixture
def texts() -> Mapping[str, str]:
    return pages.pages()


@pytest.mark.parametrize("phase", phases_of(declared()), ids=lambda phase: phase.name)
def test_everything_of_a_phase_is_on_its_page(phase: Phase, texts: Mapping[str, str]) -> None:
    blueprint = declared()
    text = texts[f"{phase.number}-{phase.name}.md"]
    assert text.startswith(f"# Phase {phase.number}: {phase.name}\n")
    assert f"--data phase={phase.name}\n" in text
    for name in (*phase.depends_on, *phase.provided_secrets(blueprint)):
        assert name in text
    for stack in blueprint.stacks_of(phase.name):
        assert f"`/opt/sourcefast/{stack.name}`" in text
        for service in stack.services:
            (row,) = [
                line
                for line in text.splitlines()
                if line.startswith((f"| {service.name}:", f"| {service.name} |"))
            ]
            for word in (
                service.image,
                service.memory,
                *service.names[1:],
                *service.domains,
                *service.volumes,
            ):
                assert word in row, f"{word} of {service.name}"
    for job in blueprint.cron_jobs:
        assert (f"| `{job.schedule}` | `/opt/scripts/{job.script}` |" in text) is (job.phase == phase.name)
    if phase.name == "hardware":
        for instance in blueprint.ollama_instances:
            assert (
                f"`{instance.unit}`, {instance.model} | {instance.port} | {blueprint.parallel_of(instance)} |"
                in text
            )


def test_declarations_that_make_no_sense_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Mapping[str, str]:
        raise DeclarationError([Violation("group_data/shop.py", "shop.number", "4", "another")])

    monkeypatch.setattr(pages, "pages", refuse)
    assert pages.main() == 1
    assert capsys.readouterr().err == "group_data/shop.py: shop.number is 4, but must be another.\n"


def test_what_a_project_has_is_on_its_page(texts: Mapping[str, str]) -> None:
    for project in declared().projects:
        text = texts[f"{project.number}-{project.phase}.md"]
        for database in project.databases:
            assert f"`{database.name}` of role `{database.role}`" in text
        for index in project.redis:
            assert f"| Redis | index {index.index}: {index.usage} |" in text
        assert f"team `{project.team.shown_as}`, key `{project.team.key_alias}`" in text


def test_the_containers_are_counted_and_those_beyond_the_requirements_named(texts: Mapping[str, str]) -> None:
    drawn = required_containers.drawn()
    assert [len(names) for names in drawn.values()] == [12, 11, 3, 5, 2]
    named = re.search(r"= 33\. Here are (\d+); beyond those:", texts["README.md"])
    assert named
    blueprint = declared()
    containers = {service.name for stack in blueprint.stacks for service in stack.services}
    containers.add(blueprint.whisper.name)
    assert int(named[1]) == len(containers)
    _, *rows = re.findall(r"^\| ([\w-]+) \| [^|]+ \|$", texts["README.md"], re.MULTILINE)
    assert set(rows) == containers - {name for names in drawn.values() for name in names}


def test_each_memory_limit_other_than_required_has_its_reason() -> None:
    limits = {service.name: service.memory_mib for stack in declared().stacks for service in stack.services}
    for line, here in required_containers.differences(limits):
        assert line.why, f"{line.containers} have {here} MiB"

"""What is declared for a host that has some of the phases."""

from __future__ import annotations

import subprocess
from pathlib import Path

from blueprint.applied import Applied
from facts.folder import Names
from phases import PHASES
from tests.unit.declared import declared

NAMES = [phase.name for phase in PHASES]


def test_names_of_files_in_a_folder(tmp_path: Path) -> None:
    fact = Names()
    for name in ("litellm", "hardware", ".hidden"):
        (tmp_path / name).touch()
    command = fact.command(str(tmp_path)).get_raw_value()
    output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert fact.process(output.stdout.splitlines()) == ["hardware", "litellm"]


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    command = Names().command(str(tmp_path / "none")).get_raw_value()
    output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (output.stdout, Names().default()) == ("", [])


def test_a_host_has_the_stacks_and_databases_of_its_phases() -> None:
    blueprint = declared()
    assert Applied(blueprint, {"hardware"}).stacks == () == Applied(blueprint, {"hardware"}).databases
    some = Applied(blueprint, {"hardware", "litellm"})
    assert [stack.name for stack in some.stacks] == ["postgres", "redis", "proxy", "langfuse", "litellm"]
    assert {database.name for database in some.databases} == {"litellm", "langfuse"}
    assert {service.name for service in Applied(blueprint, NAMES).services} > {
        service.name for service in some.services
    }


def test_what_watches_is_on_the_network_of_all_that_is_private_from_its_first_phase_on() -> None:
    blueprint = declared()
    private = {stack.name for stack in blueprint.stacks if stack.private}
    assert private == {"langfuse", "augmenter"}
    for phases in (NAMES[:3], NAMES):
        services = {service.name: service for service in Applied(blueprint, phases).services}
        assert set(services["uptime-kuma"].joins) == private

"""What has to be there before a run changes anything: keys that others issue, and a machine that is fit for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pyinfra.context import host

from blueprint import Blueprint, DeclarationError, Secrets, secret_places
from blueprint import Problem as Refused
from blueprint.phases import HARDWARE
from blueprint.projects import too_small
from blueprint.stacks import holdable
from facts.standing import Standing
from operations.checks import Problem
from phases import preflight
from phases.hardware.docker import REGISTRY_PASSWORD, REGISTRY_USER
from phases.phase import Phase


def unmet_requirements(
    blueprint: Blueprint, phases: Sequence[Phase], secrets: Secrets, there: Collection[str] = ()
) -> Iterator[Problem]:
    """What is in the way of the phases of a run; what only other phases need does not matter.

    :param phases: those of the run
    :param there: names of those that the host has been given before
    """
    run = [phase.name for phase in phases]
    yield from _told(_of_others(phases, secrets, blueprint))
    if phases:
        yield from _told(_lost(blueprint, secrets, there))
    large = too_large(blueprint)
    others = ",".join(name for name in run if name not in large)
    for small in (large[name] for name in run if name in large):
        remedy = f"leave it out (--data phase={others}); or {small.remedy}" if others else small.remedy
        yield from _told([replace(small, remedy=remedy)])
    if HARDWARE in run:
        yield from preflight.unfit(blueprint)


def too_large(blueprint: Blueprint) -> Mapping[str, Refused]:
    """Phases of projects that are meant for a larger machine, each with what is said of it."""
    if blueprint.allow_small_machine:
        return {}
    limits = {stack.name: sum(service.memory_mib for service in stack.services) for stack in blueprint.stacks}
    found = {
        project.phase: too_small(project, blueprint.profile.ram_gib, blueprint.profile.name, limits)
        for project in blueprint.projects
    }
    return {phase: problem for phase, problem in found.items() if problem}


def _of_others(phases: Sequence[Phase], secrets: Secrets, blueprint: Blueprint) -> Iterator[Refused]:
    """What others issue and is missing, or could not be handed to a container."""
    names = {name for phase in phases for name in phase.provided(blueprint)}
    try:
        # A login is optional, half of one is a mistake.
        if any(phase.name == HARDWARE for phase in phases) and secrets.has(REGISTRY_PASSWORD):
            names.add(REGISTRY_USER)
    except DeclarationError as error:
        yield from error.problems
    missing = secrets.missing(sorted(names))
    yield from missing
    for name in sorted(names - {one.key for one in missing}):
        if not holdable(secrets.provided(name)):
            found, expected = (
                "a text with \\' or with \\ at its end",
                "one that an environment file of Compose can hold",
            )
            yield Refused(secrets.file, name, found, expected, "have another one issued")


def _lost(blueprint: Blueprint, secrets: Secrets, there: Collection[str]) -> Iterator[Refused]:
    """Secrets that data is encrypted with, where this machine has others, or none and would make new ones."""
    places = secret_places.places(blueprint)
    asked = [(place.path, place.variable) for place in places if place.path]
    yield from secret_places.problems(places, standing(asked), secrets, there)


def standing(places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Hashes of what the host has in these places."""
    found: dict[tuple[str, str], str] = host.get_fact(Standing, places=places)
    return found


def _told(problems: Iterable[Refused]) -> Iterator[Problem]:
    """Problems of declarations in the form of a run's report."""
    for one in problems:
        yield Problem(f"{one.file}: {one.key}", one.found, one.expected, one.remedy)

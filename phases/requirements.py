"""What a run requires before its first change: other phases, secrets that others issue, and a machine that is fit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from blueprint import Blueprint, DeclarationError, Secrets, Violation, secret_places
from blueprint.phases import HARDWARE
from blueprint.projects import too_small
from blueprint.stacks import fits_environment_file
from facts.written_values import WrittenValues
from operations.checks import report
from phases import preflight
from phases.hardware.docker import REGISTRY_PASSWORD, REGISTRY_USER
from phases.phase import Phase
from specs.problems import Problem


def require(
    phases: Sequence[Phase],
    selected: Sequence[Phase],
    recorded: Collection[str],
    blueprint: Blueprint,
    secrets: Secrets,
) -> None:
    """Stop the run before its first change where something that it requires is missing.

    :param phases: all phases of the host, in their order
    :param selected: those of the run
    :param recorded: names of those that the host has
    :raises DeployError: one report of all problems
    """
    problems = [
        *missing_phases(phases, [phase.name for phase in selected], recorded),
        *unmet_requirements(blueprint, selected, secrets, recorded),
    ]
    if problems:
        raise DeployError(report(f"{host.name} is not ready for this run, and nothing was changed", problems))


def missing_phases(
    phases: Sequence[Phase], selected: Collection[str], recorded: Collection[str]
) -> Iterator[Problem]:
    """A problem for each selected phase that depends on one that the host does not have. Parameters as of `require`."""
    applied = set(recorded)
    for phase in (phase for phase in phases if phase.name in selected):
        needed = _dependencies(phase.name, phases)
        missing = [other for other in phases if other.name in needed - applied]
        if missing:
            yield Problem(
                f"phase {phase.name} ({phase.number})",
                " and ".join(f"no {other.name} ({other.summary})" for other in missing),
                f"phase {' and '.join(other.name for other in missing)} before it",
                f"--data phase={','.join(other.name for other in (*missing, phase))}",
            )
        applied.add(phase.name)


def _dependencies(name: str, phases: Sequence[Phase]) -> set[str]:
    """Names of all phases that a phase depends on, directly or not."""
    by_name = {phase.name: phase for phase in phases}
    found: set[str] = set()
    pending = [name]
    while pending:
        pending += (direct := set(by_name[pending.pop()].depends_on) - found)
        found |= direct
    return found


def unmet_requirements(
    blueprint: Blueprint, selected: Sequence[Phase], secrets: Secrets, recorded: Collection[str] = ()
) -> Iterator[Problem]:
    """What the selected phases require of the secrets and the machine; other phases' requirements do not matter."""
    names = [phase.name for phase in selected]
    yield from (violation.problem for violation in _provided_secrets(selected, secrets, blueprint))
    if selected:
        yield from (violation.problem for violation in _lost_secrets(blueprint, secrets, recorded))
    excluded = too_large(blueprint)
    others = ",".join(name for name in names if name not in excluded)
    for violation in (excluded[name] for name in names if name in excluded):
        prefix = f"leave it out (--data phase={others}); or " if others else ""
        yield replace(violation.problem, remedy=f"{prefix}{violation.remedy}")
    if HARDWARE in names:
        yield from preflight.unfit(blueprint)


def too_large(blueprint: Blueprint) -> Mapping[str, Violation]:
    """Phases of projects that need a larger machine, each with its problem."""
    if blueprint.allow_small_machine:
        return {}
    limits = {stack.name: sum(service.memory_mib for service in stack.services) for stack in blueprint.stacks}
    found = {
        project.phase: too_small(project, blueprint.profile.ram_gib, blueprint.profile.name, limits)
        for project in blueprint.projects
    }
    return {phase: problem for phase, problem in found.items() if problem}


def _provided_secrets(
    selected: Sequence[Phase], secrets: Secrets, blueprint: Blueprint
) -> Iterator[Violation]:
    """A problem for each secret that others issue and that is missing, or that no environment file can hold."""
    names = {name for phase in selected for name in phase.provided_secrets(blueprint)}
    try:
        # A login is optional, half of one is a mistake.
        if any(phase.name == HARDWARE for phase in selected) and secrets.has(REGISTRY_PASSWORD):
            names.add(REGISTRY_USER)
    except DeclarationError as error:
        yield from error.problems
    missing = secrets.missing(sorted(names))
    yield from missing
    for name in sorted(names - {one.key for one in missing}):
        if not fits_environment_file(secrets.provided(name)):
            expected = "one that an environment file of Compose can hold"
            found = "a text with \\' or with \\ at its end"
            yield Violation(secrets.file, name, found, expected, "have another one issued")


def _lost_secrets(blueprint: Blueprint, secrets: Secrets, recorded: Collection[str]) -> Iterator[Violation]:
    """A problem for each secret of the host that this machine has with another value, or would generate again."""
    places = secret_places.places(blueprint)
    keys = [(place.path, place.variable) for place in places if place.path]
    yield from secret_places.problems(places, written_values(keys), secrets, recorded)


def written_values(places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Hashes of the secrets in these places of the host."""
    found: dict[tuple[str, str], str] = host.get_fact(WrittenValues, places=places)
    return found

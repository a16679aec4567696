"""The phases that a host has: those recorded on it, and those of this run that come before.

A phase that renders something for the whole host (PgBouncer's databases, monitors, backups) takes a
`blueprint.applied.Applied`. So a phase that runs alone keeps what other phases set up, and every order of phases that
respects their dependencies ends in the same host.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from blueprint import Blueprint
from facts.folder import Names
from operations.checks import Problem, report
from phases.phase import Phase
from phases.record import folder


def recorded(blueprint: Blueprint) -> list[str]:
    """Names of the phases that are complete on the current host."""
    names: list[str] = host.get_fact(Names, folder=folder(blueprint))
    return names


def require_phases(
    phases: Sequence[Phase], run: Collection[str], there: Collection[str], further: Iterable[Problem] = ()
) -> None:
    """Stop the run before its first change where a phase would not find what it stands on.

    :param phases: all phases, in their order
    :param run: names of those that this run brings
    :param there: names of those that the host has been given before
    :param further: what else is in the way of these phases, for the same report
    :raises DeployError: one report of everything: each phase that is missing, with what it brings, and the rest
    """
    if problems := [*missing(phases, run, there), *further]:
        raise DeployError(report(f"{host.name} cannot be given this yet, and nothing was changed", problems))


def missing(phases: Sequence[Phase], run: Collection[str], there: Collection[str]) -> Iterable[Problem]:
    """A problem for each phase of a run that lacks something. Arguments as of `require_phases`."""
    applied = set(there)
    for phase in (phase for phase in phases if phase.name in run):
        needed = _needed(phase.name, phases)
        lacking = [other for other in phases if other.name in needed - applied]
        if lacking:
            yield Problem(
                f"phase {phase.name} ({phase.number})",
                " and ".join(f"no {other.name} ({other.brings})" for other in lacking),
                f"phase {' and '.join(other.name for other in lacking)} before it",
                f"--data phase={','.join(other.name for other in (*lacking, phase))}",
            )
        applied.add(phase.name)


def _needed(name: str, phases: Sequence[Phase]) -> set[str]:
    """Names of everything that a phase stands on, and that these stand on in turn."""
    known = {phase.name: phase for phase in phases}
    found: set[str] = set()
    todo = [name]
    while todo:
        todo += (below := set(known[todo.pop()].stands_on) - found)
        found |= below
    return found

"""What one run of deploy.py is for: the host's declarations, the phases that it has, and those that are selected."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyinfra import logger
from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from blueprint import (
    Blueprint,
    DeclarationError,
    Secrets,
    environment_name,
    for_host,
    render_problems,
    selected_phases,
)
from blueprint.applied import Applied
from blueprint.model import Stack
from blueprint.phases import ALL
from phases import phases_of, upgrade
from phases.login import require_login
from phases.phase import Phase
from phases.record import recorded
from phases.requirements import too_large


@contextmanager
def declaration_errors() -> Iterator[None]:
    """Stop the run with one report of all problems of the declarations, and without a traceback."""
    try:
        yield
    except DeclarationError as error:
        raise DeployError(render_problems(error.problems)) from None


@dataclass(frozen=True)
class Run:
    """A run of deploy.py on the current host.

    :param phases: all phases that are declared for the host, in their order
    :param recorded: names of the phases that the host had before the run
    :param selected: phases that this run applies, in their order; none where it starts a hardware upgrade
    :param pending_upgrade: hardware profile to which the host is being upgraded
    :param starts_upgrade: whether the run starts a hardware upgrade, and does nothing else
    """

    blueprint: Blueprint
    secrets: Secrets
    phases: tuple[Phase, ...]
    recorded: frozenset[str]
    selected: tuple[Phase, ...]
    pending_upgrade: str | None
    starts_upgrade: bool

    @classmethod
    def of_host(cls) -> Run:
        """The run that `--data`, the declarations and the records of the host ask for.

        :raises DeclarationError: the declarations or the secrets are wrong
        :raises DeployError: another hardware upgrade is pending, or the login cannot become root
        """
        require_login()
        blueprint = for_host(host.data)
        phases = phases_of(blueprint)
        names = selected_phases(blueprint.phase, {phase.name: phase.number for phase in phases})
        secrets = Secrets.open(environment_name(os.environ))
        pending = upgrade.pending(blueprint)
        starts_upgrade = upgrade.starts(blueprint, pending)
        selected = tuple(phase for phase in phases if phase.name in names and phase.group in host.groups)
        for phase in phases:
            if phase.name in names and phase not in selected and blueprint.phase != ALL:
                reason = f"{host.name} is not in the group {phase.group} (see `groups` in production.yaml)"
                logger.warning(f"    phase {phase.name} is skipped: {reason}")
        return cls(
            blueprint=blueprint,
            secrets=secrets,
            phases=phases,
            recorded=recorded(blueprint),
            selected=() if starts_upgrade else selected,
            pending_upgrade=pending,
            starts_upgrade=starts_upgrade,
        )

    @property
    def selected_names(self) -> list[str]:
        """Names of the selected phases."""
        return [phase.name for phase in self.selected]

    @property
    def stacks(self) -> list[Stack]:
        """Their stacks, as they are with everything that is declared."""
        return [stack for stack in self.blueprint.stacks if stack.phase in self.selected_names]

    def applied(self, last: Phase | None = None) -> Applied:
        """What the host has once a selected phase is applied; by default, at the end of the run."""
        names = self.selected_names[: self.selected.index(last) + 1] if last else self.selected_names
        return Applied(self.blueprint, self.recorded.union(names))

    def next_step(self) -> str:
        """The run for the phases that remain after this one; empty if none remain."""
        excluded = self.recorded.union(self.selected_names, too_large(self.blueprint))
        for phase in self.phases:
            if phase.name not in excluded and phase.group in host.groups:
                return (
                    f"--data phase={phase.name} deploys the next phase, a run without it all remaining ones"
                )
        return ""

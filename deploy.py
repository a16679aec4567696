"""The phases of the checklist, in order; `--data phase=NAME` selects some of them."""

from pyinfra.context import host, state

from blueprint.phases import HARDWARE
from phases import adoption, leftovers, preflight, upgrade
from phases.post_deploy import post_deploy
from phases.report import Report
from phases.requirements import require
from phases.run import Run, declaration_errors


def main() -> None:
    """Stop a run that cannot succeed before its first change; then add the operations of each selected phase."""
    run = Run.of_host()
    require(run.phases, run.selected, run.recorded, run.blueprint, run.secrets)
    preflight.require_unmanaged(run.blueprint, run.stacks)
    existing = adoption.existing(run.blueprint, run.stacks, run.secrets)

    report = Report.follow(state)
    report.warnings(host, run.blueprint.warnings())
    if run.blueprint.removed:
        leftovers.remove(blueprint=run.blueprint)
    for phase in run.selected:
        applied = run.applied(phase)
        stacks = applied.stacks_of(phase.name)
        adoption.adopt(run.blueprint, stacks, existing)
        phase.deploy(applied=applied, secrets=run.secrets)
        adoption.remove_replaced(applied, stacks)
        report.running(host, phase.running(run.blueprint))
    if run.selected:
        post_deploy(applied=run.applied(), secrets=run.secrets)
    if any(phase.name != HARDWARE for phase in run.selected):
        leftovers.report(run.blueprint)

    if run.starts_upgrade:
        upgrade.start(applied=run.applied(), pending=run.pending_upgrade)
    elif run.pending_upgrade:
        upgrade.finish(
            blueprint=run.blueprint,
            profile=run.pending_upgrade,
            stopped=run.recorded.difference(run.selected_names),
        )
    elif next_step := run.next_step():
        report.next(host, next_step)


with declaration_errors():
    main()

"""The phases of the checklist, in order; `--data phase=NAME` says which of them a run is for."""

import os

from pyinfra import logger
from pyinfra.api.exceptions import DeployError
from pyinfra.context import host, state

from blueprint import DeclarationError, Secrets, environment_name, for_host, phases_wanted, render_problems
from blueprint.applied import Applied
from blueprint.phases import ALL, HARDWARE
from phases import adoption, leftovers, phases_of, preflight, upgrade
from phases.applied import recorded, require_phases
from phases.closing import closing
from phases.report import Report
from phases.requirements import too_large, unmet_requirements

try:
    blueprint = for_host(host.data)
    phases = phases_of(blueprint)
    wanted = phases_wanted(blueprint.phase, {phase.name: phase.number for phase in phases})
    secrets = Secrets.open(environment_name(os.environ))
except DeclarationError as error:
    raise DeployError(render_problems(error.problems)) from None

there = recorded(blueprint)
mark = upgrade.marked(blueprint)
beginning = upgrade.begins(blueprint, mark)
brought = [phase for phase in phases if phase.name in wanted and phase.group in host.groups and not beginning]
names = [phase.name for phase in brought]
for phase in phases:
    if phase.name in wanted and phase.group not in host.groups and blueprint.phase != ALL:
        where = f"{host.name} is not in the group {phase.group} (see `groups` in production.yaml)"
        logger.warning(f"    phase {phase.name} is left out: {where}")
require_phases(phases, names, there, unmet_requirements(blueprint, brought, secrets, there))
preflight.containers(blueprint, names)
before = adoption.before(blueprint, [stack for stack in blueprint.stacks if stack.phase in names], secrets)

report = Report.follow(state)
report.tight(host, blueprint.tight())
applied = set(there)
if blueprint.removed:
    leftovers.remove(blueprint=blueprint)
for phase in brought:
    applied.add(phase.name)
    now = Applied(blueprint, frozenset(applied))
    stacks = [stack for stack in now.stacks if stack.phase == phase.name]
    adoption.adopt(blueprint, stacks, before)
    phase.deploy(blueprint=blueprint, applied=now, secrets=secrets)
    adoption.remove_replaced(now, stacks)
    report.running(host, phase.running(blueprint))
if brought:
    closing(applied=Applied(blueprint, frozenset(applied)), secrets=secrets)
if any(phase.name != HARDWARE for phase in brought):
    leftovers.report(blueprint)

if beginning:
    upgrade.begin(blueprint=blueprint, applied=Applied(blueprint, frozenset(there)), mark=mark)
elif mark is not None:
    upgrade.finish(blueprint=blueprint, mark=mark, left=set(there) - set(names))
else:
    away = applied | too_large(blueprint).keys()
    left = [phase.name for phase in phases if phase.name not in away and phase.group in host.groups]
    if left:
        report.next(host, f"--data phase={left[0]} brings the next phase, a run without it all that are left")

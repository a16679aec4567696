"""A deploy of its own for test_backups.py: the shared phases, with more memory for every container that holds data."""

import os
from dataclasses import replace

from pyinfra.context import host

from blueprint import Secrets, environment_name, for_host
from blueprint.given import Given
from blueprint.phases import SHARED
from phases import PHASES
from phases.given import recorded

MORE_MIB = 16

plan = for_host(host.data)
changed = replace(
    plan,
    shared_stacks=tuple(
        replace(
            stack,
            services=tuple(
                replace(service, memory=f"{service.memory_mib + MORE_MIB}m") if service.stateful else service
                for service in stack.services
            ),
        )
        for stack in plan.shared_stacks
    ),
    backups=replace(plan.backups, root=os.environ.get("BACKUP_ROOT", plan.backups.root)),
)
secrets = Secrets.open(environment_name(os.environ))
given = Given(changed, frozenset(recorded(plan)))
for phase in PHASES:
    if phase.name in SHARED:
        phase.deploy(plan=changed, given=given, secrets=secrets)

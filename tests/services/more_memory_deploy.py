"""A deploy of its own for test_backups.py: the shared phases, with more memory for every container that holds data."""

import os
from dataclasses import replace

from pyinfra.context import host

from blueprint import Secrets, environment_name, for_host
from blueprint.applied import Applied
from blueprint.phases import SHARED
from phases import PHASES
from phases.record import recorded

MORE_MIB = 16

blueprint = for_host(host.data)
changed = replace(
    blueprint,
    shared_stacks=tuple(
        replace(
            stack,
            services=tuple(
                replace(service, memory=f"{service.memory_mib + MORE_MIB}m") if service.stateful else service
                for service in stack.services
            ),
        )
        for stack in blueprint.shared_stacks
    ),
    backups=replace(blueprint.backups, root=os.environ.get("BACKUP_ROOT", blueprint.backups.root)),
)
secrets = Secrets.open(environment_name(os.environ))
applied = Applied(changed, recorded(blueprint))
for phase in PHASES:
    if phase.name in SHARED:
        phase.deploy(applied=applied, secrets=secrets)

"""A deploy of its own for this suite: the datastores, and what augmenter.PRO had before; nothing that comes after."""

import os

from pyinfra.context import host

from blueprint import Secrets, environment_name, for_host
from blueprint.applied import Applied
from blueprint.names import POSTGRES
from blueprint.phases import HARDWARE, LITELLM
from blueprint.roles import monitor_role, owned_databases
from operations import postgres
from phases.adoption import adopt, existing, report_orphans, take_over
from phases.litellm.datastores import datastores

blueprint = for_host(host.data)
applied = Applied(blueprint, frozenset({HARDWARE, LITELLM}))
secrets = Secrets.open(environment_name(os.environ))
stacks = [stack for stack in applied.stacks if stack.name in ("postgres", "redis")]
adopt(blueprint, stacks, existing(blueprint, stacks, secrets))
datastores(applied=applied, secrets=secrets)
for project in blueprint.projects:
    if project.predecessors:
        owned = owned_databases(blueprint, project.databases, secrets)
        postgres.databases(
            name="Databases", container=POSTGRES, desired=owned, roles=[monitor_role(blueprint, secrets)]
        )
        take_over(blueprint=blueprint, predecessors=project.predecessors)
report_orphans(blueprint)

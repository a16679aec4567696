"""A deploy of its own for test_redis_server.py: shared-redis and its backups, and nothing else.

REDIS_IMAGE: of a Redis whose ACLs do not know databases, in place of the declared server.
"""

import os
from dataclasses import replace

from pyinfra.context import host

from blueprint import Secrets, environment_name, for_host
from blueprint.applied import Applied
from blueprint.compose import stack
from blueprint.names import REDIS
from blueprint.phases import HARDWARE, LITELLM
from operations import stacks
from phases.backup import backups, saving
from phases.litellm.datastores import redis_as_declared, redis_users

blueprint = for_host(host.data)
if image := os.environ.get("REDIS_IMAGE"):
    blueprint = replace(
        blueprint,
        redis=replace(blueprint.redis, image=image, acl_databases=False),
        shared_stacks=tuple(
            replace(
                stack,
                services=tuple(
                    replace(one, image=image) if one.name == REDIS else one for one in stack.services
                ),
            )
            for stack in blueprint.shared_stacks
        ),
    )
applied = Applied(blueprint, frozenset({HARDWARE, LITELLM}))
secrets = Secrets.open(environment_name(os.environ))
backups(applied=applied, secrets=secrets)
stacks.up(
    name="Redis",
    root=blueprint.paths.stacks,
    stacks=[stack(applied, secrets, "redis")],
    before_recreate=saving(applied),
    timeout_s=300,
)
redis_users(applied, secrets)
redis_as_declared(applied, secrets)

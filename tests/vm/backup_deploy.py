"""A deploy of its own for this suite: the backups alone, of which the host's folders need no container."""

import os

from pyinfra.context import host

from blueprint import Secrets, environment_name, for_host
from blueprint.applied import Applied
from blueprint.phases import HARDWARE, LITELLM
from phases.backup import backups

applied = Applied(for_host(host.data), frozenset({HARDWARE, LITELLM}))
backups(applied=applied, secrets=Secrets.open(environment_name(os.environ)))

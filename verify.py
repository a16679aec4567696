"""`pyinfra -y inventory.py verify.py`: try what a host was given. Calls every model once or twice, paid ones too."""

import os

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host, state

from blueprint import DeclarationError, Secrets, environment_name, for_host, render_problems
from blueprint.applied import Applied
from phases.applied import recorded
from phases.report import Report
from phases.verification import verification

try:
    blueprint = for_host(host.data)
    secrets = Secrets.open(environment_name(os.environ))
except DeclarationError as error:
    raise DeployError(render_problems(error.problems)) from None

Report.follow(state)
verification(applied=Applied(blueprint, frozenset(recorded(blueprint))), secrets=secrets)

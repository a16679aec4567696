"""`pyinfra -y inventory.py verify.py`: try everything that a host has, and each model, paid ones too."""

import os

from pyinfra.context import host, state

from blueprint import Secrets, environment_name, for_host
from blueprint.applied import Applied
from phases.login import require_login
from phases.record import recorded
from phases.report import Report
from phases.run import declaration_errors
from phases.verification import verification

with declaration_errors():
    require_login()
    blueprint = for_host(host.data)
    secrets = Secrets.open(environment_name(os.environ))
    Report.follow(state)
    verification(applied=Applied(blueprint, recorded(blueprint)), secrets=secrets)

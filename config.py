"""What pyinfra must know before it starts."""

import click
from pyinfra.context import config

# Its command line, connectors and `--json` are used as this version has them.
config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"

# One host that fails ends the run.
config.FAIL_PERCENT = 0

# pyinfra splits `--data` at its first "=" and answers a missing one with a traceback; this file comes before that.
_context = click.get_current_context(silent=True)
for _pair in _context.params.get("data", ()) if _context else ():
    if "=" not in _pair:
        raise SystemExit(f"--data: {_pair} has no value, but must be key=value.")

"""Settings of pyinfra, read before everything else."""

import click
from pyinfra.context import config

# The project uses the command line, the connectors and `--json` of this version.
config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"

# One failed host ends the run.
config.FAIL_PERCENT = 0

# pyinfra splits `--data` at its first "=" and answers a missing one with a traceback; this file runs before that.
_context = click.get_current_context(silent=True)
for _pair in _context.params.get("data", ()) if _context else ():
    if "=" not in _pair:
        raise SystemExit(f"--data: {_pair} has no value, but must be key=value.")

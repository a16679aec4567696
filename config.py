"""Settings of pyinfra, read before everything else."""

from collections.abc import Iterator

import click
from pyinfra.context import config
from pyinfra_cli.util import parse_cli_arg

from blueprint import Violation, render_problems

# The project uses the command line, the connectors and `--json` of this version.
config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"

# One failed host ends the run.
config.FAIL_PERCENT = 0


def _unparsable() -> Iterator[Violation]:
    """Mistakes that pyinfra, which parses `--data` after this file, answers with a traceback."""
    context = click.get_current_context(silent=True)
    for pair in context.params.get("data", ()) if context else ():
        key, _, value = pair.partition("=")
        if not key or "=" not in pair:
            yield Violation("--data", pair, "no key with a value", "key=value")
        try:
            parse_cli_arg(value)
        except RecursionError:
            yield Violation("--data", key, "nested too deep", "a plain value")


if _problems := list(_unparsable()):
    raise SystemExit(render_problems(_problems))

"""Scripts of `files/` that are run on the host, from standard input.

A step that needs more than a command or two is a file under `files/`, read by shellcheck like any other,
and not a long string in Python. `run` sends it: nothing is installed on the host and nothing of it shows in
a process list.

    @operation()
    def units(...):
        ...
        yield script.run("host/apply-units.sh", "--now", payload=lines, stream=True)

The script goes in front of the payload on the same stream and is parsed whole before its first line runs:
what its commands read from their standard input is the payload and nothing else, and without a payload they
find it empty.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput

FILES = Path(__file__).resolve().parent.parent / "files"


class Script(StringCommand):
    """The command `run` makes. It compares, prints and logs as its command line; the rest is on its stdin."""

    def __init__(self, script: str, *args: str | int, payload: str = "", stream: bool = False) -> None:
        text = (FILES / script).read_text()
        # `eval` of the first bytes rather than `bash -s`, which reads its script while it runs it: a
        # command that reads its standard input (apt-get, docker, ssh) would swallow the rest of the script.
        loader = f'eval "$(head -c {len(text.encode())})"'
        arguments = [QuoteString(str(argument)) for argument in args]
        super().__init__(
            "bash", "-c", QuoteString(loader), QuoteString(script), *arguments, _stdin=[text + payload]
        )
        self.script = script
        self.payload = payload
        self.stream = stream

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        """Run it with the operation's own `_sudo`, `_env`, `_timeout` …"""
        connector_arguments.update(self.connector_arguments)
        succeeded, output = host.run_shell_command(
            self,
            print_output=self.stream or state.print_output,
            print_input=state.print_input,
            **connector_arguments,
        )
        if self.stream and not succeeded:
            # pyinfra prints the whole output of a failed command, and this one's has been seen already.
            output = CommandOutput([])
        return succeeded, output


def run(script: str, *args: str | int, payload: str = "", stream: bool = False) -> Script:
    """Command that runs a script of `files/` with bash on the host; yield it from an operation.

    A nonzero exit fails the operation and shows the script's output, so its last line on stderr says what
    was found, what was expected and how to fix it. A script with a payload reads it to its end even if it
    gives up before (`cat >/dev/null`): otherwise the sender sees a broken pipe instead of that line.

    :param script: path below `files/`; written for bash, starts with `set -euo pipefail`
    :param args: its arguments `$1` …; they show in process lists and logs, so nothing secret
    :param payload: text on its standard input, the place for secrets and for anything long; shown and logged
      nowhere
    :param stream: show its output line by line as it comes, for steps that take more than a few seconds
    """
    return Script(script, *args, payload=payload, stream=stream)

"""A trial of changes that could lock us out of a host: a new SSH connection has to confirm them.

The host undoes it by itself after some time, whatever becomes of the session: a transient timer of systemd, which the
trial sets before it changes anything. So a trial is two commands: one that sets the timer and changes something, and
`OverNewConnection` of one that stops the timer.
"""

from __future__ import annotations

from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput

# Seconds; several times what a new SSH connection may take (10, pyinfra's CONNECT_TIMEOUT).
CONFIRM_WITHIN = 60


class OverNewConnection(StringCommand):
    """A command sent over a connection of its own, through the whole of TCP, SSH and login.

    The connection that the run uses is an established one, which a firewall lets pass whatever its rules are, and
    which sshd has let in by the settings of then.

    :param bits: the command, which keeps what is on trial
    :param rollback: command that undoes it, sent over the connection of the run where no new one is possible
    :param tried: what is on trial, "firewall rules"
    :param advice: what the reader looks at then
    """

    def __init__(self, *bits: str, rollback: StringCommand, tried: str, advice: str) -> None:
        super().__init__(*bits)
        self.rollback, self.tried, self.advice = rollback, tried, advice

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        """Connect as pyinfra did for this host (address, keys, jump hosts), run the command, hang up."""
        connector_arguments.update(self.connector_arguments)
        connection = type(host.connector)(state, host)
        try:
            connection.connect()
            return connection.run_shell_command(
                self, print_output=state.print_output, print_input=state.print_input, **connector_arguments
            )
        except (ConnectError, SSHException, OSError, EOFError) as error:
            host.log_styled(
                f"found no new SSH connection to this host possible with the new {self.tried} ({error}); "
                f"expected one to confirm them. The former {self.tried} come back now, or within "
                f"{CONFIRM_WITHIN} seconds if this session cannot see to it. {self.advice}",
                fg="red",
                log_func=logger.error,
            )
            host.run_shell_command(self.rollback, **connector_arguments)
            return False, CommandOutput([])
        finally:
            connection.disconnect()

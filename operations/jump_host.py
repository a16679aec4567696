"""A jump host's failure, reported as such.

pyinfra 3.10 connects to a jump host while it reads OpenSSH's configuration of the host behind. What fails there ends as
"Authentication error" of the host itself, as "EOF error", or with a traceback. (pyinfra/connectors/sshuserclient)
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from paramiko import BadHostKeyException, SSHException
from pyinfra.connectors.sshuserclient.client import SSHClient, get_ssh_config


def name_failures() -> None:
    """From now on, have pyinfra report a jump host's failure in one sentence that names it."""
    if not hasattr(SSHClient.parse_config, "__wrapped__"):
        SSHClient.parse_config = _naming(SSHClient.parse_config)  # type: ignore[method-assign]  # it has no hook


def _naming(parse_config: Any) -> Any:
    @wraps(parse_config)
    def naming(
        self: SSHClient, hostname: str, initial: Any = None, ssh_config_file: Any = None, **options: Any
    ) -> Any:
        try:
            return parse_config(self, hostname, initial, ssh_config_file, **options)
        except (SSHException, OSError, EOFError) as error:
            hops = get_ssh_config(ssh_config_file).lookup(hostname).get("proxyjump")
            if not hops:  # the configuration itself
                raise
            raise SSHException(f"jump host {hops} of {hostname}: {_reason(error)}") from error

    return naming


def _reason(error: Exception) -> str:
    if isinstance(error, BadHostKeyException):
        return "has another host key than the known one"
    if isinstance(error, EOFError):
        return "its host key is not known, and nobody is here to accept it"
    return str(error)

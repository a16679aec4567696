"""pyinfra's command line, watched: `python -m lab.recorded_pyinfra ARGUMENTS…`.

RECORD_COMMANDS=FILE writes every command that goes over SSH to a file, as a JSON list; STOCK_TRANSPORT=1 takes the
project's transport away again.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from pyinfra_cli.main import main as pyinfra  # isort: skip - patches the standard library, so before paramiko
from paramiko import SSHClient


def main() -> None:
    """Watch paramiko, where every command of a run passes, and hand over to pyinfra."""
    commands: list[str] = []
    connect, execute = SSHClient.connect, SSHClient.exec_command

    def stock_connect(self: SSHClient, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("transport_factory", None)
        connect(self, *args, **kwargs)

    def recorded(self: SSHClient, command: str, *args: Any, **kwargs: Any) -> Any:
        commands.append(command)
        return execute(self, command, *args, **kwargs)

    if os.environ.get("STOCK_TRANSPORT"):
        SSHClient.connect = stock_connect  # type: ignore[method-assign]  # the point of this module
    SSHClient.exec_command = recorded  # type: ignore[method-assign]  # likewise
    sys.argv[0] = "pyinfra"
    try:
        pyinfra()
    finally:
        if record := os.environ.get("RECORD_COMMANDS"):
            Path(record).write_text(json.dumps(commands))


if __name__ == "__main__":
    main()

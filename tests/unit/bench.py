"""A folder of fake programs for the scripts of the host."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.unit.paths import CHECKOUT


class Bench:
    """A folder of fake programs, each a few lines of shell that may note their arguments in `log`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.log = folder / "log"
        self.log.touch()

    def program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f'#!/bin/bash\nlog() {{ echo "$@" >>{self.log}; }}\n{script}\n')
        path.chmod(0o755)

    def run(self, script: str, *args: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(CHECKOUT / "files" / script), *map(str, args)],
            env={"PATH": f"{self.programs}:{os.environ['PATH']}"} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()

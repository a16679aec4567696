"""The owner's side: a copy of the project with his production.yaml, his keys and his secrets; all of it documented."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]  # a binding without stubs
import yaml

from lab import upstream
from lab.paths import Lab
from tests.copies import copy_checkout
from tests.host.conftest import CompletedRun, ended, pyinfra_command
from tests.rehearsal.bastion import PORT as BASTION_PORT
from tests.rehearsal.bastion import new_key

PORT = 2222
PASSWORD = "une phrase de passe"  # noqa: S105 - of a machine that is scrapped


def host_data(lab: Lab) -> dict[str, Any]:
    """What the server of the lab's internet has otherwise than the owner's.

    A value that is not needed here is not here: then the declared one is rehearsed.
    """
    checksums = json.loads((lab.state / "checksums.json").read_text())
    return {
        "open_tcp_ports": [PORT, 80, 443],
        "empty_databases": ["augmenter"],
        "allow_small_machine": True,  # voicejury, too
        # The downloads are the lab's, and so are their checksums.
        "ollama_sha256": checksums["ollama"],
        "container_toolkit_key_fingerprint": checksums["nvidia_key"],
        # The repository of the Postgres project is not in this internet.
        "postgres_major": 17,
        "postgres_pgdg": False,
    }


@dataclass
class Owner:
    """The owner at his machine.

    :param lab: the internet with his server
    :param folder: of his own, with his home and the project
    """

    lab: Lab
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    host_keys: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.folder / "project"

    @property
    def known_hosts(self) -> Path:
        """Keys of his hosts."""
        return self.folder / "known_hosts"

    def prepare(self) -> None:
        """Clone the project, make keys; no host is known yet."""
        copy_checkout(self.project)
        (self.project / ".venv").symlink_to(sys.prefix)
        for name in ("deploy", "jump", "stranger"):
            new_key(self.folder / name)
        self.environment = {"SOURCEFAST_ENV": "production", "HOME": str(self.folder)}

    @property
    def provided_secrets(self) -> dict[str, str]:
        """What providers have issued, by the names of docs/phases."""
        return upstream.seeds(self.lab)

    def public_key(self, name: str) -> str:
        """One of his public keys."""
        return (self.folder / f"{name}.pub").read_text().strip()

    def write_access(self) -> None:
        """Write everything by which the server is reached."""
        self.write_known_hosts()
        self.write_ssh_config()
        self.write_production()

    def write_known_hosts(self, **others: str) -> None:
        """The host keys of `bastion` and `server`, once they are compared.

        :param others: another key of one of them, or "" for none
        """
        addresses = {
            "bastion": f"[{self.lab.outside}]:{BASTION_PORT}",
            "server": f"[{self.lab.machine}]:{PORT}",
        }
        keys = self.host_keys | others
        self.known_hosts.write_text(
            "".join(f"{address} {keys[name]}\n" for name, address in addresses.items() if keys[name])
        )

    def write_ssh_config(self, **options: str) -> None:
        """How the server is reached: through the jump host.

        :param options: others for the jump host
        """
        jump = {
            "HostName": self.lab.outside,
            "Port": str(BASTION_PORT),
            "User": "jump",
            "IdentityFile": str(self.folder / "jump"),
            "UserKnownHostsFile": str(self.known_hosts),
            "StrictHostKeyChecking": "yes",
        } | options
        lines = ["Host bastion", *(f"    {key} {value}" for key, value in jump.items())]
        lines += [f"Host {self.lab.machine}", "    ProxyJump bastion"]
        (self.folder / "ssh_config").write_text("\n".join(lines) + "\n")

    def write_production(self, **fields: Any) -> None:
        """production.yaml.

        :param fields: others of the host
        """
        host = {
            "address": self.lab.machine,
            "port": PORT,
            "user": "deploy",
            "sudo": True,
            "key": str(self.folder / "deploy"),
            "known_hosts": str(self.known_hosts),
            "ssh_config": str(self.folder / "ssh_config"),
            "data": host_data(self.lab),
        } | fields
        (self.project / "production.yaml").write_text(yaml.safe_dump({"hosts": {"sourcefast": host}}))

    def write_secrets(self) -> None:
        """The provided secrets, and the age keys by which the file is kept encrypted."""
        values: dict[str, Any] = {}
        for name, value in self.provided_secrets.items():
            *parents, leaf = name.split("/")
            node = values
            for part in parents:
                node = node.setdefault(part, {})
            node[leaf] = value
        secrets = self.project / "secrets"
        secrets.mkdir(mode=0o700, exist_ok=True)
        private(secrets / "production.yaml", yaml.safe_dump(values))
        identity = pyrage.x25519.Identity.generate()
        (secrets / "recipients").write_text(f"{identity.to_public()}\n")
        private(self.folder / "identity", f"{identity}\n")
        self.environment["SOURCEFAST_AGE_IDENTITY"] = str(self.folder / "identity")

    def deploy(self, *arguments: str) -> CompletedRun:
        """Run pyinfra on deploy.py."""
        command = pyinfra_command(*arguments, deploy=("deploy.py",))
        return ended(command, self.environment, self.project)

    def ssh(
        self, command: str, *, password: str = "", timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Log in, and run a command of bash as root.

        :param password: for sudo, where it wants one
        """
        sudo = "sudo --stdin --prompt=" if password else "sudo --non-interactive"
        config = ["-F", str(self.folder / "ssh_config"), "-o", f"UserKnownHostsFile={self.known_hosts}"]
        login = ["-i", str(self.folder / "deploy"), "-p", str(PORT), f"deploy@{self.lab.machine}"]
        return subprocess.run(
            ["ssh", *config, *login, f"{sudo} bash -c {shlex.quote(command)}"],
            input=f"{password}\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run make."""
        return subprocess.run(
            ["make", "--old-file=.venv/installed", *arguments],
            cwd=self.project,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )


def private(path: Path, text: str) -> None:
    """Write a file that only its owner reads."""
    path.touch(mode=0o600)
    path.write_text(text)

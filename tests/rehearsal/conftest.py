"""The owner, his bare server, and the jump host between them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import nspawn
from lab.machine import Machine
from lab.paths import Lab
from tests.host.conftest import the_lab  # noqa: F401 - a fixture
from tests.rehearsal.bastion import Bastion
from tests.rehearsal.owner import PORT, Owner


@pytest.fixture(scope="session")
def owner(the_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Owner:  # noqa: F811 - the fixture imported above
    """The owner with a clone of the project."""
    owner = Owner(the_lab, tmp_path_factory.mktemp("owner"))
    owner.prepare()
    return owner


@pytest.fixture(scope="session")
def bastion(owner: Owner) -> Iterator[Bastion]:
    """The jump host."""
    bastion = Bastion(owner.lab)
    bastion.start(owner.public_key("jump"))
    yield bastion
    bastion.stop()


@pytest.fixture(scope="session")
def server(owner: Owner, bastion: Bastion) -> Iterator[Machine]:
    """A server in the place of the lab's, which waits shut down meanwhile. Root cannot log in; see `on`."""
    deployed = Machine(owner.lab)
    deployed.stop()
    server = Machine(owner.lab, "rehearsal")
    server.reset()
    arguments = f"{PORT} {owner.lab.outside} '{owner.public_key('deploy')}'"
    script = Path(__file__).with_name("hoster.sh").read_text()
    server.run(f"cat >/run/hoster.sh && bash /run/hoster.sh {arguments}", input=script)
    server.hang_up()
    key = (server.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().strip()
    owner.host_keys = {"bastion": bastion.host_key, "server": key}
    owner.write_access()
    yield server
    server.scrap()
    deployed.start()


def on(server: Machine, command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command as root on the server, past SSH, in the language that cron has there."""
    return subprocess.run(
        nspawn.inside(server.lab.name, ["bash", "-c", command]),
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "fr_FR.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )

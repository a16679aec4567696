"""The owner, his bare server, and the jump host between them; root's login is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import backends
from lab.paths import Lab
from tests.host.conftest import the_lab  # noqa: F401 - a fixture
from tests.rehearsal.bastion import Bastion
from tests.rehearsal.owner import PASSWORD, PORT, Owner


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
def server(owner: Owner, bastion: Bastion) -> Iterator[None]:
    """His server as it was delivered, in the place of the lab's, which waits shut down meanwhile."""
    deployed = backends.server(owner.lab)
    deployed.stop()
    server = backends.server(owner.lab, "rehearsal")
    server.reset()
    key = server.run("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout.strip()
    script = Path(__file__).with_name("hoster.sh").read_text()
    arguments = f"{PORT} {owner.lab.outside} '{PASSWORD}' '{owner.public_key('deploy')}'"
    server.run(f"cat >/run/hoster.sh && bash /run/hoster.sh {arguments}", input=script)
    owner.host_keys = {"bastion": bastion.host_key, "server": key}
    owner.write_access()
    yield
    server.scrap()
    deployed.start()

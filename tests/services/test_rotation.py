"""Every generated secret that may be made anew is: all at once, by a run that is killed in the middle, and the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blueprint import Secrets
from blueprint.rotation import rotatable, rotate
from group_data.all import paths
from lab.machine import Machine
from lab.paths import CHECKOUT
from tests.host.conftest import kill_after, pyinfra_command, run_pyinfra
from tests.services.conftest import ALL
from tests.services.declared import everything

pytestmark = pytest.mark.usefixtures("no_cron")
# One server has its new password already, the others and all of their clients still run with the old ones.
MOMENT = ("Containers of Langfuse", "healthy: clickhouse")
OLD = "/run/rotated/old"


def secrets() -> Secrets:
    return Secrets.open("lab", CHECKOUT / "secrets")


@pytest.fixture
def searched(machine: Machine) -> Iterator[Path]:
    """A private file of the host, for what it is searched for."""
    machine.run(f"mkdir -m 700 -p $(dirname {OLD})")
    yield Path(OLD)
    machine.run(f"rm -r $(dirname {OLD})")


def test_what_is_rotated_all_at_once_and_killed_converges(machine: Machine, searched: Path) -> None:
    blueprint = everything().blueprint
    names = rotatable(blueprint, secrets())
    assert {"clickhouse/password", "minio/password", "redis/admin", "litellm/master_key"} <= {*names}
    assert {"postgres/litellm", *(project.team.key_secret for project in blueprint.projects)} <= {*names}
    before = {name: secrets().provided(name) for name in names}
    for name in names:
        rotate(name, blueprint, secrets())
    kill_after(pyinfra_command(*ALL), *MOMENT)
    done = run_pyinfra(*ALL)
    assert done.rc == 0, done.output
    assert run_pyinfra(*ALL).changed == []

    after = secrets()
    assert [name for name in names if after.provided(name) == before[name]] == []
    # Nothing was left on the old ones: neither what is written for containers and scripts nor what a container has.
    machine.run(f"umask 077 && cat >{searched}", input="\n".join(before.values()) + "\n")
    left = (
        f"grep -rlFf {searched} {paths.stacks} {paths.config}; "
        f"for one in $(docker ps --format '{{{{.Names}}}}'); do "
        f"docker inspect $one | grep -qFf {searched} && echo $one; done"
    )
    assert machine.run(left, check=False).stdout.split() == []
    unwell = "docker ps --filter health=unhealthy --filter health=starting --format '{{.Names}}'"
    assert machine.run(unwell).stdout.split() == []

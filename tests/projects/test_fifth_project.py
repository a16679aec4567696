"""A fifth project, on the machine: one file brings all of it, and without the file it goes again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from blueprint.secrets import Secrets
from group_data.all import paths
from group_data.shared import backups
from lab.machine import Machine
from lab.paths import CHECKOUT
from tests.host.conftest import CompletedRun, await_true, run_pyinfra
from tests.services.conftest import Statuses
from tests.services.datastores import POOLER, Datastores

DECLARATION = CHECKOUT / "tests" / "unit" / "fifth_project.py"
# Its own images are in no registry; those of renov-bati have the same two kinds of program.
IMAGES = {"shop-backend:": "renov-bati-backend:", "shop-worker:": "renov-bati-worker:"}
CONTAINERS = ("shop-backend", "shop-worker", "flower-shop")
PROGRAMS = ("blueprint", "facts", "operations", "specs", "phases", "group_data", "templates", "files")
STATE = (".lab", "secrets")


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., CompletedRun]:
    """Deploy from a copy of the project that has the file: nothing else is needed to add one."""
    copy = tmp_path_factory.mktemp("project")
    for name in PROGRAMS:
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("deploy.py", "inventory.py", "config.py"):
        shutil.copy(CHECKOUT / file, copy)
    for name in STATE:
        (copy / name).symlink_to(CHECKOUT / name)
    text = DECLARATION.read_text()
    for ours, theirs in IMAGES.items():
        text = text.replace(ours, theirs)
    (copy / "group_data" / "shop.py").write_text(text)

    return partial(run_pyinfra, env={"PYTHONPATH": str(copy)}, project=copy)


@pytest.fixture
def gone_again(machine: Machine, deploy: Callable[..., CompletedRun]) -> Iterator[None]:
    """Data, which no deploy removes, is removed by hand; the others' state is as it was."""
    yield
    removed = deploy("--data", "remove=shop,flower-shop", "--data", "remove_teams=shop")
    assert removed.rc == 0, removed.output
    psql = "docker exec -i -u postgres shared-postgres psql -Xq -v ON_ERROR_STOP=1"
    machine.run(psql, input="DROP DATABASE IF EXISTS shop WITH (FORCE);\nDROP ROLE IF EXISTS shop;\n")
    machine.run(
        psql + " langfuse",
        input="DELETE FROM api_keys WHERE project_id = 'shop';\nDELETE FROM projects WHERE id = 'shop';\n",
    )
    machine.run(
        f"rm -rf {paths.state}/phases/shop {backups.root}/postgres/shared-postgres/shop "
        f"{paths.stacks}/monitoring/flower-shop.env"
    )
    kept = Secrets.open("lab", CHECKOUT / "secrets")
    for name in kept.names:
        if "shop" in re.split("[/.]", name):
            kept.forget(name)
    assert deploy().changed == []


def names(machine: Machine) -> set[str]:
    """Names of all containers."""
    return set(machine.run("docker ps --all --format '{{.Names}}'").stdout.split())


@pytest.mark.usefixtures("gone_again")
def test_a_fifth_project_comes_with_its_file_and_goes_without_it(
    machine: Machine,
    owner: Callable[..., CompletedRun],
    deploy: Callable[..., CompletedRun],
    datastores: Datastores,
    statuses: Statuses,
) -> None:
    done = owner("--data", "phase=shop")
    assert done.rc == 0, done.output
    health = "docker inspect --format '{{.State.Health.Status}}' " + " ".join(CONTAINERS)
    # Its own connections: database, index, key, each with its credentials.
    await_true(lambda: set(machine.run(health).stdout.split()) == {"healthy"}, 600, "health of the shop")
    with datastores.connect("shop", "shop", server=POOLER) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with datastores.connect("shop", "shop") as connection:
        assert connection.execute("SELECT extname FROM pg_extension WHERE extname = 'vector'").fetchone()
    assert datastores.redis("shop", 10).ping()
    settings = json.loads(machine.run(f"cat {paths.config}/backup.json").stdout)
    assert "shop" in next(
        server["databases"] for server in settings["postgres"] if server["container"] == "shared-postgres"
    )
    assert {"shop-backend", "flower-shop"} <= statuses().keys()
    assert owner("--data", "phase=all").changed == []

    # Without its file a run names what is left of it, and removes what it is asked to.
    run = deploy()
    assert run.rc == 0, run.output
    assert "stacks that are not declared: shop; " in run.output
    assert "containers that are not declared: flower-shop; " in run.output
    assert {*CONTAINERS} <= names(machine)
    removed = deploy("--data", "remove=shop,flower-shop")
    assert removed.rc == 0, removed.output
    assert not {*CONTAINERS} & names(machine)
    kept = "docker exec -u postgres shared-postgres psql -XqAt -c 'SELECT datname FROM pg_database'"
    assert "shop" in machine.run(kept).stdout.split()
    assert deploy().changed == []

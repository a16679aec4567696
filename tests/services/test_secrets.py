"""Every secret of the environment is a canary: where others could see one, the whole host is searched for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from blueprint.langfuse import initial
from group_data.all import paths
from lab.machine import Machine
from lab.paths import CHECKOUT
from tests.host.conftest import pyinfra_command, run_pyinfra
from tests.services.conftest import ALL
from tests.services.declared import everything

pytestmark = pytest.mark.usefixtures("no_cron")
# A public key is public, and a chat's number is no secret.
BLUEPRINT = everything().blueprint
NOT_SECRET = {
    "telegram/chat",
    initial(BLUEPRINT.shared_stacks).keys.public,
    *(project.trace_keys.public for project in BLUEPRINT.projects),
}
SHORTEST = 12  # anything shorter would be found by chance
LIST = "/run/canaries/list"


def leaves(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{name}/")
        else:
            yield f"{path}{name}", str(value)


@pytest.fixture(scope="module")
def canaries() -> dict[str, str]:
    """Every secret by its name; salts of verifiers among them."""
    values = yaml.safe_load((CHECKOUT / "secrets" / "lab.yaml").read_text())
    return {
        name: value for name, value in leaves(values) if len(value) >= SHORTEST and name not in NOT_SECRET
    }


@pytest.fixture(scope="module")
def found(machine: Machine, canaries: dict[str, str]) -> Iterator[Callable[[str], set[str]]]:
    """Names of the secrets that a command's output has; it is searched on the host."""
    machine.run(
        f"mkdir -m 700 -p $(dirname {LIST}) && umask 077 && cat >{LIST}", input="\n".join(canaries.values())
    )

    def search(command: str) -> set[str]:
        seen = machine.run(f"({command}) 2>&1 | grep -aoFf {LIST} | sort -u", check=False, timeout=600).stdout
        return {name for name, value in canaries.items() if value in seen.splitlines()}

    yield search
    machine.run(f"rm -r $(dirname {LIST})")


def test_the_search_finds_what_is_there(found: Callable[[str], set[str]], canaries: dict[str, str]) -> None:
    assert "redis/admin" in found(f"cat {paths.config}/backup-credentials.json")
    assert {"postgres/litellm", "litellm/master_key", "groq/api_key", "telegram/token"} <= canaries.keys()


def test_no_secret_in_an_argument_while_everything_is_saved_and_tried(
    machine: Machine, found: Callable[[str], set[str]]
) -> None:
    """Of any process, looked at again and again while cron's own jobs run."""
    scripts = " && ".join(
        f"{paths.scripts}/{name}"
        for name in ("backup-databases.sh", "backup-clickhouse.sh", "backup-restore-test.sh", "watch.sh")
    )
    machine.run(f"systemd-run --quiet --unit=seen-backup sh -c '{scripts}'")
    command = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"
    looking = f"while systemctl -q is-active seen-backup; do {command}; sleep 0.1; done"
    machine.run(f"({looking}) >/run/canaries/seen; grep -q pg_dump /run/canaries/seen", timeout=3600)
    assert machine.run("systemctl is-failed seen-backup", check=False).stdout.strip() == "inactive"
    assert found("cat /run/canaries/seen") == set()


def test_no_secret_in_a_log(found: Callable[[str], set[str]]) -> None:
    assert found(f"cat /var/log/*.log {paths.logs}/* /var/log/apt/*") == set()
    assert found("journalctl --no-pager --output=cat") == set()
    assert found("docker ps -aq | xargs -n 1 docker logs") == set()


def test_no_secret_in_what_docker_shows_of_a_container_but_its_environment(
    found: Callable[[str], set[str]],
) -> None:
    shown = "{{json .Config.Labels}} {{json .Config.Cmd}} {{json .Args}} {{json .Config.Healthcheck}} {{json .Mounts}}"
    assert found(f"docker ps -aq | xargs docker inspect --format '{shown}'") == set()
    assert (
        found("docker images -q | sort -u | xargs docker history --no-trunc --format '{{.CreatedBy}}'")
        == set()
    )


def test_nobody_else_can_read_a_secret(machine: Machine, canaries: dict[str, str]) -> None:
    """Every file that a user without any right can read, on every disk of the host."""
    shown = "/run/readable"
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs"
    disks = "/ /run /tmp /dev/shm /var/lib/docker"
    looked = f"-xdev -type f -readable -size -64M -not -path '{shown}/*'"
    machine.run(f"mkdir -p {shown} && cat >{shown}/list", input="\n".join(canaries.values()))
    try:
        search = f"cd / && {nobody} find {disks} {looked} -exec grep -alFf {shown}/list -- {{}} + 2>/dev/null"
        assert machine.run(search, check=False, timeout=600).stdout == ""
        machine.run(f"umask 022; cp {shown}/list /opt/left-open")
        assert machine.run(search, check=False, timeout=600).stdout == "/opt/left-open\n"
    finally:
        machine.run(f"rm -rf {shown} /opt/left-open")


def test_no_secret_in_what_a_run_shows(machine: Machine, canaries: dict[str, str]) -> None:
    """Of files with secrets that are another than declared, with everything that pyinfra can be asked to show."""
    files = f"{paths.config}/*.json {paths.config}/telegram.ini {paths.stacks}/*/*.env {paths.stacks}/redis/redis/*"
    machine.run(f"tar -cpf /run/canaries/before {files} && for file in {files}; do echo >>$file; done")
    try:
        for arguments in (("--dry", "--diff", "-vvv"), ("--dry", "--diff", "--debug")):
            done = subprocess.run(
                [*pyinfra_command(*ALL, *arguments)],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=1800,
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["plan"]
            assert "backup-credentials.json" in done.stderr
            shown = done.stdout + done.stderr
            assert {name for name, value in canaries.items() if value in shown} == set()
    finally:
        machine.run("tar -xpf /run/canaries/before -C /")
        # Containers read what was written meanwhile again.
        assert run_pyinfra(*ALL).rc == 0


@pytest.fixture
def secrets_file() -> Iterator[Path]:
    """The environment's secrets, as they are again afterwards."""
    file = CHECKOUT / "secrets" / "lab.yaml"
    before = file.read_bytes()
    yield file
    file.write_bytes(before)


@pytest.mark.parametrize("dry", [(), ("--dry",)], ids=["run", "dry"])
def test_a_secret_that_the_host_still_has_is_not_made_anew(
    machine: Machine, secrets_file: Path, canaries: dict[str, str], dry: tuple[str, ...]
) -> None:
    """One without its line, one without its value, another in its place, and one that no file of the host has."""
    values = yaml.safe_load(secrets_file.read_text())
    del values["litellm"]["salt_key"], values["uptime_kuma"]
    values["langfuse"] |= {"salt": "", "encryption_key": "0" * 64}
    secrets_file.write_text(yaml.safe_dump(values))
    shown = "docker ps -q | xargs docker inspect --format '{{.Name}} {{.State.StartedAt}}'"
    started = f"{shown}; cat {paths.stacks}/*/*.env"
    before = machine.run(started).stdout
    done = run_pyinfra(*ALL, *dry)
    assert done.rc != 0
    assert "is not ready for this run, and nothing was changed: 4 problems" in done.output, done.output
    for place in (
        "LITELLM_SALT_KEY in /opt/sourcefast/litellm/litellm-proxy.env",
        "SALT in /opt/sourcefast/langfuse/langfuse-web.env",
        "ENCRYPTION_KEY in /opt/sourcefast/langfuse/langfuse-web.env",
        "docker exec -it --user 1000 uptime-kuma npm run reset-password",
    ):
        assert place in done.output
    assert {name for name, value in canaries.items() if value in done.output} == set()
    assert yaml.safe_load(secrets_file.read_text()) == values
    assert machine.run(started).stdout == before

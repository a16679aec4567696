"""Stacks against a real Docker: made, left alone, changed, interrupted, broken, refused and removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lab.machine import Machine
from lab.paths import CHECKOUT
from tests.host.conftest import CompletedRun, run_pyinfra

ROOT = "/opt/stacks-test"
IMAGE = "onerahmet/openai-whisper-asr-webservice:v1.9.1-gpu"  # has Python, and is there
DEPLOY = "tests/host/stack_deploy.py"
SERVE = ["python3", "-u", "-m", "http.server", "8000", "--directory", "/site"]
HOSTILE = ['a $HOME "b" it\'s #c  ', "$$x${Y}", "back\\slash \\\\ \\n", " # ", "'", "", "é=ü"]

Case = dict[str, Any]
Apply = Callable[..., CompletedRun]


def web(**changes: Any) -> Case:
    """A service that serves the mounted folder /site."""
    declared: Case = {
        "name": "test-web",
        "image": IMAGE,
        "memory": "64m",
        "stop_s": 1,  # as the first process of a container, Python ignores SIGTERM
        "port": 8000,
        "publish": 18000,
        "aliases": ["test-alias"],
        "entrypoint": SERVE,
        "generated_secrets": {"PASSWORD": "test/password"},
        "files": {"site/index.html": "/site/index.html"},
        "volumes": {"data": "/data"},
    }
    return {**declared, **changes}


def case(*services: Case, text: str = "first", **more: Any) -> Case:
    """A case with one stack."""
    contents = {"site/index.html": f"{text}\n"}
    stack = {"name": "stacktest", "services": list(services or (web(),)), "contents": contents}
    return {"root": ROOT, "stacks": [stack], **more}


@pytest.fixture(scope="module")
def clean(machine: Machine) -> Iterator[None]:
    yield
    machine.run(
        "docker ps -aq --filter label=com.docker.compose.project=stacktest | xargs -r docker rm -f; "
        f"docker volume ls -q --filter name=stacktest_ | xargs -r docker volume rm; rm -rf {ROOT}; "
        "docker network rm stacktest_private 2>/dev/null || true"
    )


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a run whose case is written to the file of STACK_CASE; secrets stay between tests."""
    folder = tmp_path_factory.getbasetemp() / "stacks"
    folder.mkdir(exist_ok=True)
    return {**os.environ, "STACK_CASE": str(folder / "case.json")}


@pytest.fixture
def apply(machine: Machine, clean: None, environment: dict[str, str]) -> Apply:
    """Run the deploy for a case, with further arguments for pyinfra."""

    def run(desired: Case, *arguments: str) -> CompletedRun:
        Path(environment["STACK_CASE"]).write_text(json.dumps(desired))
        flags = () if "--dry" in arguments else ("-y",)
        return run_pyinfra(*flags, *arguments, "inventory.py", DEPLOY, env=environment)

    return run


@pytest.fixture
def deployed(machine: Machine, apply: Apply) -> Case:
    """The plain case, deployed."""
    plain = case()
    done = apply(plain)
    assert done.rc == 0, done.output
    return plain


def container(machine: Machine, name: str = "test-web") -> dict[str, Any]:
    """What Docker knows of a container."""
    answer: list[dict[str, Any]] = json.loads(machine.run(f"docker inspect {name}").stdout)
    return answer[0]


def served(machine: Machine) -> str:
    return machine.run("curl -sS http://127.0.0.1:18000/").stdout.strip()


def test_a_second_run_does_nothing(machine: Machine, apply: Apply, deployed: Case) -> None:
    before = container(machine)["Id"]
    again = apply(deployed)
    assert again.changed == []
    assert container(machine)["Id"] == before
    assert served(machine) == "first"
    modes = machine.run(f"find {ROOT} ! -type l -printf '%m %P\\n' | sort -k2").stdout.splitlines()
    assert modes == [
        "700 ",
        "700 stacktest",
        "644 stacktest/compose.yaml",
        "700 stacktest/site",
        "600 stacktest/site/index.html",
        "600 stacktest/test-web.env",
    ]


def test_a_container_has_the_names_that_are_declared_and_no_other(machine: Machine, deployed: Case) -> None:
    found = container(machine)
    names = found["NetworkSettings"]["Networks"]["coolify"]["DNSNames"]
    assert set(names) == {"test-web", "test-alias", found["Id"][:12]}
    assert found["HostConfig"]["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18000"}]}


def test_variables_arrive_as_they_are_written(machine: Machine, apply: Apply) -> None:
    env = {f"V{number}": text for number, text in enumerate(HOSTILE)}
    done = apply(case(web(env=env)))
    assert done.rc == 0, done.output
    actual = dict(variable.split("=", 1) for variable in container(machine)["Config"]["Env"])
    assert {name: actual[name] for name in env} == env


def test_only_what_changed_is_made_anew(machine: Machine, apply: Apply) -> None:
    other = web(name="test-other", publish=None, aliases=[], port=8000, files={}, volumes={})
    other["entrypoint"] = ["python3", "-u", "-m", "http.server", "8000"]
    assert apply(case(web(), other)).rc == 0
    before = container(machine)["Id"], container(machine, "test-other")["Id"]
    assert apply(case(web(env={"LEVEL": "2"}), other)).rc == 0
    after = container(machine)["Id"], container(machine, "test-other")["Id"]
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert apply(case(web(env={"LEVEL": "2"}), other), "-v").changed == []
    run = apply(case(web(env={"LEVEL": "2"})))
    assert "test-other" in run.output
    assert "not declared" in run.output
    assert container(machine, "test-other")["Id"] == before[1]
    assert apply(case(web(), removed=["test-other"])).rc == 0
    assert machine.run("docker inspect test-other", check=False).returncode != 0


def test_a_changed_mounted_file_makes_the_container_anew(
    machine: Machine, apply: Apply, deployed: Case
) -> None:
    assert apply(case(text="second")).rc == 0
    assert served(machine) == "second"
    assert apply(case(text="second")).changed == []


def test_a_run_that_died_after_it_wrote_is_repaired(
    machine: Machine, apply: Apply, deployed: Case, environment: dict[str, str]
) -> None:
    changed = case(text="third")
    Path(environment["STACK_CASE"]).write_text(json.dumps(changed))
    command = [str(Path(sys.executable).with_name("pyinfra")), "-y", "inventory.py", DEPLOY]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if "compose.yaml: written" in line:
                run.kill()
                break
    assert served(machine) == "first", "the run was not killed in time"
    repaired = apply(changed)
    assert repaired.changed == ["Stacks of the case"]
    assert served(machine) == "third"


def test_a_reload_keeps_the_container_and_is_made_up_for(machine: Machine, apply: Apply) -> None:
    # The server reads what it serves at each request; what shows the reload is the file that it leaves.
    reloading = web(
        files={"site/index.html": "/site/index.html"}, reload=["sh", "-c", "date >>/data/reloads"]
    )
    assert apply(case(reloading)).rc == 0
    before = container(machine)["Id"]
    reloads = "docker exec test-web sh -c 'cat /data/reloads 2>/dev/null | wc -l'"
    count = int(machine.run(reloads).stdout)
    assert apply(case(reloading, text="reloaded")).rc == 0
    assert served(machine) == "reloaded"
    assert int(machine.run(reloads).stdout) == count + 1
    assert apply(case(reloading, text="reloaded")).changed == []
    # As a run leaves it that died between the file and the reload.
    file = f"{ROOT}/stacktest/site/index.html"
    machine.run(f"cp -p {file} {file}.new && mv {file}.new {file}")
    assert apply(case(reloading, text="reloaded")).changed == ["Stacks of the case"]
    assert int(machine.run(reloads).stdout) == count + 2
    assert container(machine)["Id"] == before


@pytest.mark.parametrize(
    ("entrypoint", "output"),
    [
        (["python3", "-uc", "print('no such setting: COLOUR'); exit(3)"], "no such setting: COLOUR"),
        (["python3", "-uc", "print('deaf'); import time; time.sleep(999)"], "deaf"),
    ],
)
def test_what_does_not_become_healthy_fails_with_its_own_words(
    apply: Apply, deployed: Case, entrypoint: list[str], output: str
) -> None:
    failed = apply(case(web(entrypoint=entrypoint), timeout_s=30))
    assert failed.rc != 0
    assert output in failed.output
    assert "test-web: found it" in failed.output
    again = apply(case(web(entrypoint=entrypoint), timeout_s=8))
    assert again.rc != 0, "a failed run must not count as a successful one"
    repaired = apply(deployed)
    assert repaired.rc == 0, repaired.output


SAVED = "/run/stacktest-saved"


def test_a_container_with_data_is_made_anew_only_after_its_backup(
    machine: Machine, apply: Apply, deployed: Case
) -> None:
    stateful = web(stateful=True, env={"LEVEL": "3"})
    before = container(machine)["Id"]
    written = machine.run(f"cat {ROOT}/stacktest/compose.yaml").stdout
    refused = apply(case(stateful))
    assert refused.rc != 0
    assert "only after its backup" in refused.output
    for program in ("exit 1", "exit 0"):  # one that fails, and one that only says that it saved something
        failed = apply(case(stateful, saving=saving(machine, program)))
        assert failed.rc != 0
        assert "nothing was changed" in failed.output
        assert container(machine)["Id"] == before
        assert machine.run(f"cat {ROOT}/stacktest/compose.yaml").stdout == written
    saves = f"""
        folder={SAVED}/volume/test-web/data/20261122T030000Z; mkdir -p $folder; cd $folder
        echo '{{"time": 1, "doubt": "", "files": {{}}}}' >manifest.json
        docker inspect -f '{{{{.Id}}}}' test-web >dump"""
    done = apply(case(stateful, saving=saving(machine, saves)))
    assert done.rc == 0, done.output
    assert machine.run(f"cat {SAVED}/volume/test-web/data/*/dump").stdout.strip() == before
    assert container(machine)["Id"] != before


def saving(machine: Machine, program: str) -> dict[str, Any]:
    """How the case's container is saved: by a program that does just this."""
    machine.run(
        f"mkdir -p {SAVED}; cat >{SAVED}/save; chmod +x {SAVED}/save", input=f"#!/bin/sh -e\n{program}\n"
    )
    return {"command": f"{SAVED}/save", "root": SAVED, "pieces": {"test-web": ["volume/test-web"]}}


def test_a_file_that_compose_refuses_replaces_nothing(machine: Machine, apply: Apply, deployed: Case) -> None:
    files = f"cat {ROOT}/stacktest/compose.yaml {ROOT}/stacktest/test-web.env"
    written, before = machine.run(files).stdout, container(machine)["Id"]
    refused = apply(case(web(env={"NEW": "1"}), raw={"nonsense": {}}))
    assert refused.rc != 0
    assert "nonsense" in refused.output
    assert "no file was changed" in refused.output
    assert (machine.run(files).stdout, container(machine)["Id"]) == (written, before)


@pytest.mark.checklist("2.10")
def test_a_removed_stack_is_named_and_removed_on_request_but_its_volume_stays(
    machine: Machine, apply: Apply, deployed: Case
) -> None:
    machine.run("docker exec test-web sh -c 'echo kept >/data/kept'")
    empty = {"root": ROOT, "stacks": []}
    run = apply(empty)
    assert run.rc == 0
    assert "stacks that are not declared: stacktest" in run.output
    assert served(machine) == "first"
    gone = apply({**empty, "removed": ["stacktest"]})
    assert gone.rc == 0, gone.output
    assert machine.run("docker inspect test-web", check=False).returncode != 0
    assert machine.run(f"test -e {ROOT}/stacktest", check=False).returncode != 0
    assert apply({**empty, "removed": ["stacktest"]}).changed == []
    assert apply(deployed).rc == 0
    assert machine.run("docker exec test-web cat /data/kept").stdout == "kept\n"


def test_a_volume_goes_on_request_and_only_after_its_archive_was_compared(
    machine: Machine, apply: Apply, deployed: Case
) -> None:
    machine.run("docker exec test-web sh -c 'echo precious >/data/precious'")
    saved = f"{ROOT}-removed"
    gone = {"root": ROOT, "stacks": [], "removed": ["stacktest"], "saved": saved}
    try:
        # A foreign container has it, too: a run may not remove it.
        machine.run(
            f"docker run -d --name test-lodger -v stacktest_data:/data --entrypoint sleep {IMAGE} 999"
        )
        kept = apply(gone)
        assert kept.rc == 0, kept.output
        assert "stacktest_data: kept, another container has it" in kept.output
        assert apply(deployed).rc == 0
        machine.run("docker rm -f test-lodger")
        done = apply(gone)
        assert done.rc == 0, done.output
        assert machine.run("docker volume inspect stacktest_data", check=False).returncode != 0
        archived = f"zstd -dc {saved}/stacktest_data/*.tar.zst | tar -xOf - ./precious"
        assert machine.run(archived).stdout == "precious\n"
        assert machine.run(f"stat -c %a {saved}/stacktest_data/*").stdout.split() == ["600"]
        assert apply(gone).changed == []
    finally:
        machine.run(f"docker rm -f test-lodger; rm -rf {saved}", check=False)


def test_no_secret_is_shown(
    machine: Machine, apply: Apply, deployed: Case, environment: dict[str, str]
) -> None:
    secrets = (Path(environment["STACK_CASE"]).parent / "secrets" / "case.yaml").read_text()
    password = secrets.split("password:")[1].strip()
    assert len(password) == 43
    machine.run(f"rm {ROOT}/stacktest/test-web.env")
    shown = [
        apply(deployed, "--dry", "--diff", "-vvv").output,
        apply(case(text="shown?"), "--diff", "-vvv", "--debug").output,
        machine.run("docker inspect --format '{{json .Config.Labels}} {{json .Args}}' test-web").stdout,
        machine.run(f"cat {ROOT}/stacktest/compose.yaml; ps axww; journalctl -b --no-pager").stdout,
    ]
    assert [text for text in shown if password in text] == []
    assert password in machine.run(f"cat {ROOT}/stacktest/test-web.env").stdout


@pytest.mark.checklist("F.13")
def test_the_memory_limit_is_real(machine: Machine, deployed: Case) -> None:
    take = "docker exec test-web python3 -c 'x = bytes(range(256)) * (200 << 12)'"
    assert machine.run(take, check=False).returncode == 137
    assert machine.run(take.replace("200 <<", "20 <<"), check=False).returncode == 0


def test_somebody_elses_container_is_left_alone(machine: Machine, apply: Apply) -> None:
    machine.run(f"docker rm -f test-web; docker run -d --name test-web --entrypoint sleep {IMAGE} 999")
    try:
        before = container(machine)["Id"]
        refused = apply(case())
        assert refused.rc != 0
        assert "of no Compose project" in refused.output
        assert container(machine)["Id"] == before
        in_place = apply(case(skip_if_running="test-web"))
        assert in_place.changed == []
    finally:
        machine.run("docker rm -f test-web")


def test_a_taken_port_is_named(machine: Machine, apply: Apply) -> None:
    machine.run("docker rm -f test-web", check=False)
    machine.run(f"docker run -d --name squatter -p 127.0.0.1:18000:1 --entrypoint sleep {IMAGE} 999")
    try:
        refused = apply(case())
        assert refused.rc != 0
        assert "published by container squatter" in refused.output
    finally:
        machine.run("docker rm -f squatter")


def test_services_start_after_what_they_depend_on_is_healthy(machine: Machine, apply: Apply) -> None:
    machine.run("docker rm -f test-web test-late", check=False)
    late = web(name="test-late", publish=None, aliases=[], files={}, volumes={}, depends_on=["test-web"])
    late["entrypoint"] = ["python3", "-u", "-m", "http.server", "8000"]
    # Docker keeps the last five looks: the one that found it healthy is among them for as long as none follows.
    done = apply(case(late, web(interval_s=60)))
    assert done.rc == 0, done.output
    looks = container(machine)["State"]["Health"]["Log"]
    healthy = next(check["End"] for check in looks if check["ExitCode"] == 0)
    started = container(machine, "test-late")["State"]["StartedAt"]
    # One is in the machine's time zone, the other in UTC.
    assert datetime.fromisoformat(started) > datetime.fromisoformat(healthy)
    machine.run("docker rm -f test-late")


def test_an_image_is_built_once_and_again_when_its_folder_changes(machine: Machine, apply: Apply) -> None:
    built = web(image="stacktest/web:1", build="tests/host/image", entrypoint=[], files={})
    done = apply(case(built))
    assert done.rc == 0, done.output
    assert served(machine) == "hello"
    assert apply(case(built)).changed == []
    built["build_args"] = {"GREETING": "good morning"}
    assert apply(case(built)).rc == 0
    assert served(machine) == "good morning"
    assert apply(case(built)).changed == []


def test_what_is_private_is_asked_by_what_depends_on_it_alone(machine: Machine, apply: Apply) -> None:
    plain: Case = {"publish": None, "aliases": [], "files": {}, "volumes": {}}
    serve = ["python3", "-u", "-m", "http.server", "8000"]
    store = web(name="test-store", private=True, **plain | {"entrypoint": serve})
    user = web(name="test-user", depends_on=["test-store"], **plain | {"entrypoint": serve})
    declared = case(store, user, web())

    def reaches(name: str, where: str = "test-store") -> bool:
        ask = f"import urllib.request; urllib.request.urlopen('http://{where}:8000', timeout=3)"
        return machine.run(f'docker exec {name} python3 -c "{ask}"', check=False).returncode == 0

    def by_address(name: str) -> str:
        inspect = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return machine.run(f"docker inspect --format '{inspect}' {name}").stdout.strip()

    try:
        done = apply(declared)
        assert done.rc == 0, done.output
        assert apply(declared).changed == []
        assert reaches("test-user")
        assert not reaches("test-web")
        assert not reaches("test-web", by_address("test-store"))
        assert reaches("test-web", "test-user")
        # Somebody opens it, and takes the other one off its network: a run puts both back.
        machine.run("docker network connect coolify test-store")
        machine.run("docker network disconnect stacktest_private test-user")
        assert reaches("test-web")
        again = apply(declared)
        assert again.rc == 0, again.output
        assert reaches("test-user")
        assert not reaches("test-web")
        assert apply(declared).changed == []
        gone = apply({"root": ROOT, "stacks": [], "removed": ["stacktest"]})
        assert gone.rc == 0, gone.output
        assert machine.run("docker network inspect stacktest_private", check=False).returncode != 0
    finally:
        machine.run("docker rm -f test-store test-user", check=False)

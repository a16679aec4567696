"""Stacks as Compose gets them: compose.yaml, the digests of containers and builds, and what is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from specs.files import File
from specs.stacks import Build
from tests.unit.stacks import FOLDER, definition, front


@pytest.mark.checklist("2.4")
def test_compose_gets_the_digest_and_nothing_to_interpolate() -> None:
    stack = front()
    document = yaml.safe_load(stack.compose())
    assert document["name"] == "front"
    assert document["services"]["web"]["labels"] == {"stack.digest": stack.digest("web")}
    assert document["services"]["web"]["command"] == ["echo", "$$HOME"]
    assert stack.compose() == front().compose()
    assert "canary" not in stack.compose()


def test_the_digest_is_of_everything_that_a_container_is_made_from() -> None:
    plain = front()
    assert front(canary="b").digest("web") != plain.digest("web")
    assert front(canary="b").digest("late") == plain.digest("late")
    assert front(text="y").digest("web") != plain.digest("web")
    services = plain.project["services"]
    other = front(project={"services": {**services, "web": {**services["web"], "mem_limit": "1g"}}})
    assert other.digest("web") != plain.digest("web")
    order = front(project={"services": {**services, "web": dict(reversed(services["web"].items()))}})
    assert order.digest("web") == plain.digest("web")
    reload = {"web": ["true"]}
    assert front(text="y", reload=reload).digest("web") == front(reload=reload).digest("web")
    assert front(canary="b", reload=reload).digest("web") != front(reload=reload).digest("web")


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"name": "Front"}, "expected a name"),
        ({"project": {"services": {"web": definition("other")}}}, "must have that container_name"),
        ({"project": {"services": {"web": {"container_name": "web"}}}}, "has no healthcheck"),
        ({"files": ()}, "which is not declared"),
        ({"files": (*front().files, File("/etc/passwd", ""))}, "is not below"),
        ({"stateful": frozenset({"db"})}, "has no service db"),
        ({"reload": {"web": []}}, "no command"),
    ],
)
def test_a_stack_that_makes_no_sense_is_refused(fields: dict[str, Any], output: str) -> None:
    with pytest.raises(ValueError, match=output):
        front(**fields)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM x:1\n")
    (tmp_path / "entry").write_text("#!/bin/sh\n")
    return tmp_path


def test_the_digest_of_a_build_covers_all_of_its_inputs(folder: Path) -> None:
    digest = Build(folder).digest
    assert Build(folder).digest == digest
    assert Build(folder, {"MAJOR": "16"}).digest != digest
    (folder / "entry").chmod(0o755)
    executable = Build(folder).digest
    assert executable != digest
    (folder / "more").write_text("")
    assert Build(folder).digest not in (digest, executable)
    with pytest.raises(ValueError, match="no Dockerfile"):
        Build(folder / "nowhere")


def test_a_bad_environment_file_is_not_quoted_by_the_validation(tmp_path: Path) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    output = 'failed to read x.env: line 3: unexpected character \\"!\\" in variable name near \\"canary\\"'
    docker.write_text(f'#!/bin/sh\nls *.env >"{tmp_path}/saw"\necho "{output}"\nexit 15\n')
    docker.chmod(0o755)
    folder = tmp_path / "front"
    (folder / ".staged").mkdir(parents=True)
    (folder / "a.env").write_text("")
    compose = front().entries()[-1]
    assert isinstance(compose, File)
    validate = (compose.validate or "").replace(FOLDER, str(folder)).replace("{path}", '"$1"')
    done = subprocess.run(
        ["bash", "-c", validate, "validate", str(folder / ".staged" / "compose.yaml")],
        env={"PATH": f"{docker.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 15
    assert "line 3: unexpected character" in done.stdout
    assert "canary" not in done.stdout + done.stderr
    assert (tmp_path / "saw").read_text() == "a.env\n"

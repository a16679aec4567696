"""What the stacks' script answered on a real host, and what it leaves out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from facts.script import SCRIPTS
from facts.stacks import Image, Stacks, StacksState, normalized_reference, read_stacks
from specs.stacks import Limits
from tests.unit.paths import FIXTURES

FIXTURE = FIXTURES / "stacks.txt"


def test_the_answer_of_a_real_host_is_read() -> None:
    state = read_stacks(FIXTURE.read_text().splitlines())
    web = state.containers["test-web"]
    assert (web.project, web.service, web.status, web.health) == (
        "stacktest",
        "test-web",
        "running",
        "healthy",
    )
    assert web.folder == "/opt/stacks-test/stacktest"
    assert len(web.digest) == 64
    assert web.published == {"18000/tcp"}
    assert web.aliases == {"test-web", "test-alias"}
    assert web.networks == {"stacktest"}
    assert web.limits == Limits(64 * 1024**2, 128 * 1024**2, 0.5, 512, "unless-stopped")
    assert web.started is not None
    assert web.checked is not None
    assert web.checked - web.started == pytest.approx(33)
    assert web.failing == 0
    whisper = state.containers["shared-whisper"]
    assert (whisper.project, whisper.digest, whisper.managed) == ("", "", False)
    assert whisper.checked is None
    assert [container.name for container in state.of_project("stacktest")] == ["test-web"]
    (name,) = (name for name in state.images if "@" not in name)
    assert state.images[name] == Image(web.image_id)
    assert state.tree.entries["/opt/stacks-test/stacktest"].mode == 0o700
    assert state.tree.entries["/opt/stacks-test/stacktest/compose.yaml"].sha256
    assert state.changed.keys() == state.tree.entries.keys()


def test_a_host_without_docker_has_files_only(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".pyinfra-tree.x").mkdir()
    (tmp_path / "a" / ".pyinfra-tree.x" / "staged").write_text("")
    (tmp_path / "a" / "b c").write_text("")
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("find", "sha256sum"):
        (programs / program).symlink_to(f"/usr/bin/{program}")
    answer = subprocess.run(
        ["/bin/sh", str(SCRIPTS / "stacks.sh"), str(tmp_path / "a")],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=True,
    )
    state = read_stacks(answer.stdout.splitlines())
    assert set(state.tree.entries) == {f"{tmp_path}/a", f"{tmp_path}/a/b c"}
    assert state.tree.abandoned == (f"{tmp_path}/a/.pyinfra-tree.x",)
    assert (state.containers, state.images) == ({}, {})
    assert read_stacks([]) == StacksState() == Stacks.default()


def test_a_container_that_never_started_has_no_time() -> None:
    line = FIXTURE.read_text().split("@@containers\n")[1].splitlines()[0]
    started = line.split('"started":"')[1].split('"')[0]
    never = line.replace(started, "0001-01-01T00:00:00Z")
    assert read_stacks(["@@containers", never]).containers["test-web"].started is None


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("redis:7", "redis:7"),
        ("docker.io/library/redis:7", "redis:7"),
        ("docker.io/louislam/uptime-kuma:1", "louislam/uptime-kuma:1"),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("redis:7@sha256:00", "redis@sha256:00"),
        ("host:5000/redis@sha256:00", "host:5000/redis@sha256:00"),
    ],
)
def test_references_are_compared_as_docker_shows_them(reference: str, shown: str) -> None:
    assert normalized_reference(reference) == shown


def test_networks_are_known_with_whether_they_have_a_way_out() -> None:
    answer = ["@@networks", "coolify false", "langfuse_private true", "@@images", ""]
    assert read_stacks(answer).networks == {"coolify": False, "langfuse_private": True}

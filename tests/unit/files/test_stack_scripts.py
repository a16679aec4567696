"""The scripts around stacks: the backup before a change, and the removal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from operations.script import FILES
from tests.unit.bench import Bench


def test_a_failed_backup_ends_the_run() -> None:
    script = ["bash", str(FILES / "backup/save-first.sh")]
    assert subprocess.run([*script, "true"], capture_output=True).returncode == 0
    failed = subprocess.run([*script, "false"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert "nothing was changed" in failed.stderr


DOCKER = """
log "$*"
[ ! -e "$STATE/down" ] || { echo 'Cannot connect to the Docker daemon' >&2; exit 1; }
case $* in
"ps "*label=*) echo c1 ;;
"volume ls "*) echo shop_data ;;
*.Mountpoint*) echo "$STATE/volume" ;;
esac
"""


@pytest.fixture
def removing(bench: Bench, tmp_path: Path) -> Path:
    """A host with one stack, which has a volume."""
    bench.program("docker", DOCKER)
    bench.program("sync", 'log "sync $2"')
    for folder in ("root/shop", "volume"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "volume" / "rows").write_text("all of them")
    return tmp_path


def test_a_volume_is_removed_once_its_archive_is_on_the_disk(bench: Bench, removing: Path) -> None:
    left = removing / "saved" / "shop_data" / "20200101T000000Z.tar.zst.part"
    left.parent.mkdir(parents=True)
    left.touch()
    done = bench.run("stacks/remove.sh", removing / "root", removing / "saved", "shop", STATE=str(removing))
    assert done.returncode == 0, done.stderr
    (archive,) = left.parent.iterdir()
    last = bench.calls[-3:]
    assert last == [f"sync {archive}.part", f"sync {archive.parent}", "volume rm -- shop_data"]
    listed = subprocess.run(["tar", "--zstd", "-tf", archive], capture_output=True, text=True, check=True)
    assert "./rows" in listed.stdout
    assert not (removing / "root" / "shop").exists()


def test_nothing_is_called_removed_where_docker_is_silent(bench: Bench, removing: Path) -> None:
    (removing / "down").touch()
    done = bench.run("stacks/remove.sh", removing / "root", "", "shop", STATE=str(removing))
    assert done.returncode != 0
    assert "removed" not in done.stdout
    assert (removing / "root" / "shop").exists()

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pyinfra.api.exceptions import OperationValueError

from facts.releases import Release, ReleaseState
from operations import releases
from tests.unit.hosts import commands, pyinfra

DIGEST = "a" * 64
URL = "https://example.org/ollama.tar.zst"
PATHS = ("bin/ollama", "lib/ollama")
CURRENT = ReleaseState(f"{DIGEST} {URL}", frozenset({"/usr/local/bin/ollama", "/usr/local/lib/ollama"}))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (CURRENT, None),
        (ReleaseState(), "is not installed"),
        (ReleaseState(None, CURRENT.present), "was interrupted"),
        (ReleaseState("b" * 64 + f" {URL}", CURRENT.present), "is another one"),
        (ReleaseState(CURRENT.stamp, frozenset({"/usr/local/lib/ollama"})), "has lost /usr/local/bin/ollama"),
    ],
)
def test_difference(found: ReleaseState, reason: str | None) -> None:
    output = releases.difference(found, f"{DIGEST} {URL}", [f"/usr/local/{path}" for path in PATHS])
    assert output is None if reason is None else reason in (output or "")
    yielded = commands(
        releases.release, {Release: found}, url=URL, sha256=DIGEST, owns=PATHS, stamp="/var/lib/stamp"
    )
    assert len(yielded) == (reason is not None)


@pytest.mark.parametrize(
    ("sha256", "owns"), [("abc", PATHS), (DIGEST, ()), (DIGEST, ("/etc",)), (DIGEST, ("a/../b",))]
)
def test_refuses_nonsense(sha256: str, owns: tuple[str, ...]) -> None:
    with pytest.raises(OperationValueError):
        commands(releases.release, {}, url=URL, sha256=sha256, owns=owns, stamp="/var/lib/stamp")


def test_asks_for_stamp_and_paths(tmp_path: Path) -> None:
    (tmp_path / "stamp").write_text("digest url\n")
    (tmp_path / "a b").mkdir()
    paths = [str(tmp_path / "a b"), str(tmp_path / "gone")]
    command = Release().command(str(tmp_path / "stamp"), paths).get_raw_value()
    answer = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout
    assert Release().process(answer.splitlines()) == ReleaseState("digest url", frozenset(paths[:1]))


# --- on this machine, from a server on this machine


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "site"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def publish(site: tuple[Path, str], version: str, *files: str) -> tuple[str, str]:
    """An archive laid out as Ollama's; its URL and hash."""
    folder, base = site
    content = folder / f"content-{version}"
    for name in files:
        (content / name).parent.mkdir(parents=True, exist_ok=True)
        (content / name).write_text(version)
    archive = folder / f"{version}.tar.zst"
    subprocess.run(["tar", "--zstd", "-cf", str(archive), "-C", str(content), "."], check=True)
    return f"{base}/{version}.tar.zst", hashlib.sha256(archive.read_bytes()).hexdigest()


def deploy_of(tmp_path: Path, url: str, sha256: str) -> Path:
    deploy = tmp_path / "deploy.py"
    deploy.write_text(
        "from operations import releases\n"
        f"releases.release(name='Release', url={url!r}, sha256={sha256!r}, owns={PATHS!r}, "
        f"stamp='{tmp_path}/state/stamp', destination='{tmp_path}/local')\n"
    )
    return deploy


def test_installs_upgrades_and_repairs(tmp_path: Path, site: tuple[Path, str]) -> None:
    local, stamp = tmp_path / "local", tmp_path / "state/stamp"
    one = publish(site, "one", "bin/ollama", "lib/ollama/cuda_v11.so", "lib/ollama/common.so")
    two = publish(site, "two", "bin/ollama", "lib/ollama/cuda_v12.so", "lib/ollama/common.so")
    (local / "bin").mkdir(parents=True)
    (local / "bin/other").write_text("not ours")

    first = pyinfra(deploy_of(tmp_path, *one))
    assert first.returncode == 0 and "installed" in first.stdout, first.stdout
    assert (local / "lib/ollama/cuda_v11.so").read_text() == "one"
    assert stamp.read_text() == f"{one[1]} {one[0]}\n"
    assert "No changes" in pyinfra(deploy_of(tmp_path, *one)).stdout

    assert pyinfra(deploy_of(tmp_path, *two)).returncode == 0
    assert (local / "bin/ollama").read_text() == (local / "lib/ollama/common.so").read_text() == "two"
    assert not (local / "lib/ollama/cuda_v11.so").exists()
    assert (local / "bin/other").read_text() == "not ours"

    # what a run leaves that is killed in the middle of the exchange
    stamp.unlink()
    shutil.rmtree(local / "lib/ollama")
    (local / ".release.12345678/old").mkdir(parents=True)
    assert pyinfra(deploy_of(tmp_path, *two)).returncode == 0
    assert (local / "lib/ollama/cuda_v12.so").read_text() == "two"
    assert sorted(path.name for path in local.iterdir()) == ["bin", "lib"]


@pytest.mark.parametrize(
    ("digest", "path", "words"),
    [
        (DIGEST, "", "nothing was changed: compare with the publisher's"),
        ("", "", "found no lib/ollama in the archive"),
        ("", ".gone", "could not be downloaded"),
    ],
)
def test_what_is_wrong_changes_nothing(
    tmp_path: Path, site: tuple[Path, str], digest: str, path: str, words: str
) -> None:
    url, sha256 = publish(site, "one", "bin/ollama")
    run = pyinfra(deploy_of(tmp_path, url + path, digest or sha256))
    assert run.returncode != 0 and words in run.stdout, run.stdout
    assert not list((tmp_path / "local").iterdir())
    assert not list((tmp_path / "state").iterdir())

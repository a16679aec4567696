"""What the simulated internet offers for download: the Ollama release, Ollama's models, apt repositories."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from group_data.gpu import ollama_version
from lab import authority
from lab.hardware import packages
from lab.ollama import registry, release
from lab.paths import Lab
from lab.upstream import server
from lab.upstream.names import DRIVER_PACKAGES, TOOLKIT_PACKAGES

LAB = Path(__file__).parents[1]
RELEASE = "releases/ollama/ollama-linux-amd64.tar.zst"
TOOLKIT_KEY = "nvidia-toolkit/libnvidia-container/gpgkey"
DRIVER_KEY = "nvidia-driver/gpgkey"


def publish(lab: Lab, kernel: str) -> None:
    """Build what is offered, where its sources changed since the last time. The upstream must be running.

    :param kernel: release of the kernel that gets headers
    """
    _fresh(lab, "releases", [LAB / "ollama"], lambda out: _release(out / "ollama"), also=ollama_version)
    _fresh(lab, "ollama-models", [LAB / "ollama"], registry.write)
    hardware = [LAB / "hardware"]
    _fresh(lab, "packages", hardware, lambda out: packages.build(out, kernel), also=kernel)
    secret = authority.apt_key(lambda: server.run(lab, ["/etc/upstream/generate-key"]))
    built = sorted((downloads(lab) / "packages").glob("*.deb"))
    of_nvidia = {package.name for package in packages.toolkit()}
    toolkit = [package for package in built if package.name.partition("_")[0] in of_nvidia]
    driver = [package for package in built if package not in toolkit]
    sources = [*built, authority.FOLDER / "apt.key", LAB / "upstream" / "sign-repository"]
    _fresh(lab, "nvidia-toolkit", sources, lambda out: _toolkit(lab, toolkit, secret, out))
    _fresh(lab, "nvidia-driver", sources, lambda out: _repository(lab, driver, secret, DRIVER_PACKAGES, out))


def downloads(lab: Lab) -> Path:
    """Folder that the upstream serves."""
    return lab.state / "upstream" / "downloads"


def checksums(lab: Lab) -> dict[str, str]:
    """What the declarations pin and the lab has its own of: `ollama`, the archive's sha256; `nvidia_key`, the
    fingerprint of the key that signs the container toolkit's repository."""
    key = subprocess.run(
        ["gpg", "--batch", "--show-keys", "--with-colons", str(downloads(lab) / TOOLKIT_KEY)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {
        "ollama": hashlib.sha256((downloads(lab) / RELEASE).read_bytes()).hexdigest(),
        "nvidia_key": next(line.split(":")[9] for line in key.splitlines() if line.startswith("fpr:")),
    }


def _release(out: Path) -> None:
    out.mkdir()
    release.build(out)


def _toolkit(lab: Lab, debs: list[Path], secret: bytes, out: Path) -> None:
    """NVIDIA's layout: the key above, one flat repository an architecture below."""
    repository = out / "libnvidia-container/stable/deb/amd64"
    repository.mkdir(parents=True)
    _repository(lab, debs, secret, TOOLKIT_PACKAGES, repository)
    (repository / "gpgkey").rename(out / "libnvidia-container" / "gpgkey")


def _repository(lab: Lab, debs: list[Path], secret: bytes, origin: str, out: Path) -> None:
    for package in debs:
        shutil.copyfile(package, out / package.name)
    seen_inside = Path("/srv/upstream") / out.relative_to(lab.state / "upstream")
    server.run(lab, ["/etc/upstream/sign-repository", str(seen_inside), origin], stdin=secret)


def _fresh(
    lab: Lab, name: str, sources: Iterable[Path], build: Callable[[Path], object], also: str = ""
) -> None:
    """Let `build` fill downloads/`name` unless it was filled from the same sources; whole or not at all.

    :param also: what else the result depends on
    """
    target = downloads(lab) / name
    stamp = downloads(lab) / f".{name}.sources"
    digest = _digest(sources) + also
    if target.is_dir() and stamp.is_file() and stamp.read_text() == digest:
        return
    building = downloads(lab) / f".{name}.building"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    build(building)
    shutil.rmtree(target, ignore_errors=True)
    building.rename(target)
    stamp.write_text(digest)


def _digest(sources: Iterable[Path]) -> str:
    """Hash of files, and of all files below folders (what Python leaves beside its sources aside)."""
    digest = hashlib.sha256()
    for source in sources:
        for file in sorted([source] if source.is_file() else source.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(source.parent)}\0".encode() + file.read_bytes())
    return digest.hexdigest()

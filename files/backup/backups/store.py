"""The store of the backups: a folder for each piece, and in it a folder for each backup."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from containers import ScriptError

MANIFEST = "manifest.json"
PARTS = {"time", "doubt", "files", "contents"}
UNFINISHED = "."
STAMP = "%Y%m%dT%H%M%SZ"
FORMAT = 1
CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Backup:
    """One backup of a piece."""

    path: Path

    @property
    def stamp(self) -> str:
        return self.path.name

    @property
    def piece(self) -> str:
        return str(self.manifest["piece"])

    @property
    def age_s(self) -> float:
        return time.time() - float(self.manifest["time"])

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """:raises ScriptError: it is missing or unreadable"""
        try:
            manifest: dict[str, Any] = json.loads((self.path / MANIFEST).read_text())
            if missing := PARTS - manifest.keys():
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        except (OSError, ValueError, AttributeError) as error:
            raise ScriptError(f"{self.path}: no manifest that can be read: {error}") from None
        return manifest

    @property
    def contents(self) -> dict[str, Any]:
        """What the piece wrote into its manifest."""
        contents: dict[str, Any] = self.manifest["contents"]
        return contents

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file["bytes"] for file in self.manifest["files"].values())

    @property
    def readable(self) -> bool:
        """Whether it has a readable manifest."""
        try:
            return bool(self.manifest)
        except ScriptError:
            return False

    @property
    def good(self) -> bool:
        """Whether there was no doubt about it when it was made."""
        return self.readable and not self.manifest["doubt"]

    def file(self, name: str) -> Path:
        return self.path / name

    def verify(self) -> None:
        """:raises ScriptError: a file is not as it was written"""
        for name, expected in self.manifest["files"].items():
            path = self.path / name
            if not path.is_file():
                raise ScriptError(f"{path} is missing")
            if (size := path.stat().st_size) != expected["bytes"]:
                raise ScriptError(f"{path} has {size} bytes, not {expected['bytes']}: truncated or changed")
            if sha256(path) != expected["sha256"]:
                raise ScriptError(f"{path} is damaged: its SHA-256 is not the one in its manifest")


@dataclass(frozen=True)
class Store:
    """All backups of a host, in one folder."""

    root: Path

    def prepare(self) -> None:
        """Create the folder, and remove unfinished backups of killed runs."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for folder in self.root.glob(f"*/*/*/{UNFINISHED}*"):
            shutil.rmtree(folder)

    def pieces(self) -> list[str]:
        """Names of everything that was ever saved."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.glob("*/*/*") if path.is_dir())

    def backups(self, piece: str) -> list[Backup]:
        """Backups of a piece, the oldest first."""
        folders = (self.root / piece).glob(f"[!{UNFINISHED}]*")
        return [Backup(path) for path in sorted(folders) if path.is_dir()]

    def newest(self, piece: str) -> Backup | None:
        """The newest readable backup. A damaged one must not prevent the next."""
        return next((backup for backup in reversed(self.backups(piece)) if backup.readable), None)

    @contextmanager
    def unfinished(self, piece: str) -> Iterator[Path]:
        """A private folder to write a piece into; it is removed afterwards unless it was finished."""
        parent = self.root / piece
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = parent / f"{UNFINISHED}{os.getpid()}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def finish(self, folder: Path, piece: str, contents: dict[str, Any], doubt: str) -> Backup:
        """Write the manifest of a folder, read everything back, and give the folder its name.

        `doubt`: why the backup may be incomplete.

        :raises ScriptError: a file is not as it was written
        """
        files = sorted(path for path in folder.iterdir() if path.is_file())
        manifest = {
            "format": FORMAT,
            "piece": piece,
            "time": time.time(),
            "doubt": doubt,
            "files": {
                path.name: {"bytes": path.stat().st_size, "sha256": sha256(path, sync=True)} for path in files
            },
            "contents": contents,
        }
        text = json.dumps(manifest, indent=1)
        with os.fdopen(os.open(folder / MANIFEST, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _sync(folder)
        Backup(folder).verify()
        target = folder.with_name(time.strftime(STAMP, time.gmtime()))
        while target.exists():
            time.sleep(0.2)
            target = folder.with_name(time.strftime(STAMP, time.gmtime()))
        folder.rename(target)
        _sync(target.parent)
        return Backup(target)

    def prune(self, piece: str, days: int) -> list[str]:
        """Remove backups that are older than some days; the last good one stays, however old it is."""
        backups = self.backups(piece)
        last_good = next((backup for backup in reversed(backups) if backup.good), None)
        removed = []
        for backup in backups:
            if backup != last_good and time.time() - backup.path.stat().st_mtime > days * 86400:
                # First a name that is none of a backup: a removal can be interrupted.
                removing = backup.path.with_name(f"{UNFINISHED}old-{backup.stamp}")
                backup.path.rename(removing)
                shutil.rmtree(removing)
                removed.append(backup.stamp)
        return removed


def sha256(path: Path, sync: bool = False) -> str:
    """SHA-256 of a file; `sync` writes it to the disk first."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private(path: Path) -> IO[bytes]:
    """A new file that only its owner can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


@contextmanager
def compressed(path: Path) -> Iterator[IO[bytes]]:
    """A new compressed file to write to, with a checksum of its contents."""
    with private(path) as file:
        zstd = subprocess.Popen(
            ["zstd", "--quiet", "--stdout"], stdin=subprocess.PIPE, stdout=file, stderr=subprocess.PIPE
        )
        yield from _piped(zstd, zstd.stdin, path)


@contextmanager
def decompressed(path: Path) -> Iterator[IO[bytes]]:
    """The contents of a compressed file. The end of the context reads the rest of it, checksum included."""
    zstd = subprocess.Popen(
        ["zstd", "--quiet", "--decompress", "--stdout", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    yield from _piped(zstd, zstd.stdout, path)


def _piped(zstd: subprocess.Popen[bytes], pipe: IO[bytes] | None, path: Path) -> Iterator[IO[bytes]]:
    if pipe is None or zstd.stderr is None:
        raise ValueError("zstd has no pipes")
    try:
        yield pipe
        if pipe.readable():
            while pipe.read(CHUNK):
                pass
        pipe.close()
    except BrokenPipeError:
        pass  # zstd ended first, and its error output says why
    except BaseException:
        zstd.kill()
        raise
    finally:
        with suppress(BrokenPipeError):
            pipe.close()
        reason = zstd.stderr.read().decode(errors="replace").strip()
        zstd.stderr.close()
        status = zstd.wait()
    if status:
        raise ScriptError(f"{path.name}: zstd ended with {status}: {reason[-300:]}")


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written to the file system of a folder."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize

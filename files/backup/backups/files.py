"""Folders: a container's volume, or one of the host. A SQLite database in it is copied by SQLite, in use or not."""

from __future__ import annotations

import hashlib
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from containers import ScriptError, require_running

from backups.piece import Contents, differences
from backups.settings import Folder, Volume
from backups.store import compressed, decompressed

ARCHIVE = "files.tar.zst"
SQLITE = b"SQLite format 3\0"
# Files of an open database; its copy has their contents.
BESIDE_SQLITE = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Files:
    """All files below a folder. `folder` returns its path, or fails."""

    name: str
    folder: Callable[[], Path]
    min_bytes = 0
    may_shrink = False

    def estimate(self) -> int:
        return sum(path.stat().st_size for path in _files(self.folder()))

    def save(self, folder: Path) -> Contents:
        source = self.folder()
        files: dict[str, str] = {}
        rows: dict[str, int] = {}
        with (
            compressed(folder / ARCHIVE) as pipe,
            tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as archive,
            tempfile.TemporaryDirectory(dir=folder) as copies,
        ):
            for path in _files(source):
                name = str(path.relative_to(source))
                if _is_sqlite(path):
                    copy = Path(copies, "copy")
                    rows |= _copy_sqlite(path, copy, name)
                    member = archive.gettarinfo(str(path), name)
                    path = copy
                else:
                    member = archive.gettarinfo(str(path), name)
                member.size = path.stat().st_size
                with path.open("rb") as file:
                    hashed = _Hashed(file)
                    archive.addfile(member, hashed)
                files[name] = hashed.digest.hexdigest()
        return {"files": files, "rows": rows}

    def check(self, folder: Path, contents: Mapping[str, Any]) -> None:
        actual = {}
        with decompressed(folder / ARCHIVE) as pipe, tarfile.open(fileobj=pipe, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member)
                actual[member.name] = hashlib.sha256(content.read() if content else b"").hexdigest()
        if changed := sorted(
            name for name in contents["files"] if actual.get(name) != contents["files"][name]
        ):
            raise ScriptError(f"in the archive, {', '.join(changed)[:300]} is not as it was")

    def test(self, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        """Restore into a folder beside the backup, and compare."""
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".restored") as name:
            restored = Path(name)
            with decompressed(folder / ARCHIVE) as pipe, tarfile.open(fileobj=pipe, mode="r|") as archive:
                archive.extractall(restored, filter="tar")
            files = {str(path.relative_to(restored)): _sha256(path) for path in _files(restored)}
            rows: dict[str, int] = {}
            for path in _files(restored):
                if _is_sqlite(path):
                    with closing(sqlite3.connect(path)) as database:
                        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
                        if verdict != "ok":
                            return [f"{path.name}: {verdict}"]
                        rows |= _rows(database, str(path.relative_to(restored)))
        return differences("file", contents["files"], files) + differences("table", contents["rows"], rows)


class _Hashed:
    """A file with the hash of what was read from it, whatever is written to it meanwhile."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def volume(settings: Volume) -> Files:
    """The volume of a container at a path."""

    def where() -> Path:
        for mount in require_running(settings.container)["Mounts"]:
            if mount["Destination"] == settings.path:
                return Path(mount["Source"])
        raise ScriptError(f"{settings.container} has no volume at {settings.path}")

    return Files(f"volume/{settings.container}/{settings.path.strip('/').replace('/', '_')}", where)


def folder(settings: Folder) -> Files:
    """A folder of the host."""

    def where() -> Path:
        if not Path(settings.path).is_dir():
            raise ScriptError(f"{settings.path} is no folder")
        return Path(settings.path)

    return Files(f"folder/host/{settings.path.strip('/').replace('/', '_')}", where)


def _files(folder: Path) -> Iterator[Path]:
    """Regular files, without those that SQLite keeps beside its databases."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            beside = next((end for end in BESIDE_SQLITE if path.name.endswith(end)), "")
            if not (beside and _is_sqlite(path.with_name(path.name.removesuffix(beside)))):
                yield path


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except FileNotFoundError:
        return False


def _copy_sqlite(path: Path, copy: Path, name: str) -> dict[str, int]:
    copy.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=60)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
            return _rows(target, name)
    except sqlite3.Error as error:
        raise ScriptError(f"{name}: {error}") from None


def _rows(database: sqlite3.Connection, name: str) -> dict[str, int]:
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    counts = {}
    for (table,) in tables:
        quoted = '"' + table.replace('"', '""') + '"'
        (counts[f"{name}:{table}"],) = database.execute(f"SELECT count(*) FROM {quoted}").fetchone()  # noqa: S608
    return counts


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

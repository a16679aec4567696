"""The objects of a bucket, read through the server's S3 interface and not from its files."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containers import ScriptError, require_running

from backups import s3, scratch
from backups.piece import Contents
from backups.settings import Bucket, login_in
from backups.store import compressed, decompressed

ARCHIVE = "objects.tar.zst"


class Summary:
    """Count, size and fingerprint of objects, in any order."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._bytes = 0

    def add(self, key: str, content: bytes) -> None:
        self._lines.append(f"{key}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        self._bytes += len(content)

    def contents(self) -> Contents:
        digest = hashlib.sha256(b"".join(sorted(self._lines))).hexdigest()
        return {"objects": len(self._lines), "bytes": self._bytes, "sha256": digest}


@dataclass(frozen=True)
class Objects:
    """One bucket."""

    server: Bucket
    min_bytes = 0
    may_shrink = False

    @property
    def name(self) -> str:
        return f"s3/{self.server.container}/{self.server.bucket}"

    def estimate(self) -> int:
        return 0  # only a listing of all objects would tell

    def save(self, folder: Path) -> Contents:
        summary = Summary()
        with (
            self._client(require_running(self.server.container)) as client,
            compressed(folder / ARCHIVE) as file,
            tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            exists = client.exists()
            for key in client.keys() if exists else ():
                try:
                    answer = client.get(key)
                except ScriptError as error:
                    if ": 404 " in str(error):
                        continue  # it was removed after it was listed
                    raise
                content = answer.read()
                member = tarfile.TarInfo(key)
                member.size = len(content)
                member.pax_headers = {
                    f"S3.{name}": value for name, value in s3.object_headers(answer).items()
                }
                archive.addfile(member, io.BytesIO(content))
                summary.add(key, content)
        lacks = [] if exists else [f"bucket {self.server.bucket}"]
        return {**summary.contents(), "lacks": lacks}

    def check(self, folder: Path, contents: Mapping[str, Any]) -> None:
        summary = Summary()
        _each(folder, lambda key, content, headers: summary.add(key, content))
        actual = summary.contents()
        if any(contents[key] != value for key, value in actual.items()):
            raise ScriptError(f"it has {actual['objects']} objects that are not those of its manifest")

    def test(self, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        with scratch.server(self.server.container) as container:

            def bucket_exists() -> bool:
                with self._client(container) as client:
                    return client.exists()

            scratch.await_answer(bucket_exists, "the scratch S3 server")
            with self._client(container) as client:
                if not client.exists():
                    client.create()
                _each(folder, client.put)
                summary = Summary()
                for key in client.keys():  # noqa: SIM118 - no dict
                    summary.add(key, client.get(key).read())
        return [
            f"{value} {key} instead of {contents[key]}"
            for key, value in summary.contents().items()
            if value != contents[key]
        ]

    def _client(self, container: Mapping[str, Any]) -> AbstractContextManager[s3.Client]:
        server = self.server
        return s3.client(container, server.port, server.bucket, login_in(container, server))


def _each(folder: Path, take: Callable[[str, bytes, Mapping[str, str]], object]) -> None:
    with decompressed(folder / ARCHIVE) as file, tarfile.open(fileobj=file, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member)
            headers = {
                name.removeprefix("S3."): value
                for name, value in member.pax_headers.items()
                if name.startswith("S3.")
            }
            take(member.name, content.read() if content else b"", headers)

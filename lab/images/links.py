"""A push taken over from another lab: registries share their blobs, so linking an image is all that is left to do.

The layout is that of docker-registry's file system storage,
https://github.com/distribution/distribution/blob/v2.8.3/registry/storage/paths.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

REPOSITORIES = "docker/registry/v2/repositories"


def current(registry: Path, name: str, tag: str) -> str | None:
    """Digest of the manifest that a tag leads to ("sha256:…"), or None where there is no such tag.

    :param registry: root folder of a registry's storage
    :param name: of the image, "ghcr.io/berriai/litellm"
    """
    link = registry / REPOSITORIES / name / "_manifests" / "tags" / tag / "current" / "link"
    return link.read_text() if link.is_file() else None


def find(registries: Path, names: Iterable[str], tag: str) -> str | None:
    """Digest of the manifest that a tag leads to in any lab's registry, if all of its blobs are there.

    :param registries: folder with the registries of all labs (`sf1`, …) and their common `blobs`
    :param names: under which it may have been pushed
    """
    candidates = list(names)
    for registry in sorted(registries.glob("sf[0-9]*")):
        for name in candidates:
            digest = current(registry, name, tag)
            if digest and all(_blob(registries, each).is_file() for each in _blobs(registries, digest)):
                return digest
    return None


def link(registries: Path, registry: Path, name: str, tags: Iterable[str], digest: str) -> None:
    """Have a registry offer an image whose blobs are there, under each of the tags in turn.

    :param registry: root folder of its storage
    :param digest: of its manifest
    """
    repository = registry / REPOSITORIES / name
    for part in _blobs(registries, digest):
        if part != digest:
            _write(repository / "_layers", part)
    _write(repository / "_manifests" / "revisions", digest)
    for tag in tags:
        folder = repository / "_manifests" / "tags" / tag
        _write(folder / "index", digest)
        (folder / "current").mkdir(exist_ok=True)
        (folder / "current" / "link").write_text(digest)


def _blobs(registries: Path, digest: str) -> Iterator[str]:
    """Digests of a manifest, and of its configuration and its layers."""
    yield digest
    manifest = _blob(registries, digest)
    if manifest.is_file():
        content = json.loads(manifest.read_bytes())
        for part in (content["config"], *content["layers"]):
            yield str(part["digest"])


def _blob(registries: Path, digest: str) -> Path:
    algorithm, _, value = digest.partition(":")
    return registries / "blobs" / algorithm / value[:2] / value / "data"


def _write(folder: Path, digest: str) -> None:
    target = folder.joinpath(*digest.split(":")) / "link"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(digest)

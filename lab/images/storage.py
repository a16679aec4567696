"""What earlier builds left: images in buildah's storage and blobs of the registries, which all labs share.

Both only save time. What is thrown away too early is built or pushed again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from lab.paths import CACHE, Lab
from lab.upstream import server

NAME = "localhost/lab"  # of every image in buildah's storage; the tag is its content
KEPT_S = 3 * 24 * 3600  # so that two checkouts of different age do not take each other's images away


def prune(lab: Lab, current: Collection[str]) -> None:
    """Remove what no checkout has needed for days. The caller holds the lock of the image builds.

    :param current: images (`NAME:tag`) that this lab's checkout is made of
    """
    listed = json.loads(server.run(lab, ["buildah", "images", "--json", "--filter", f"reference={NAME}"]))
    old = outdated(listed or [], current, time.time())
    if old:
        server.run(lab, ["buildah", "rmi", *old])
    server.run(lab, ["buildah", "rmi", "--prune"])
    sweep(CACHE / "registry", {claim.name for claim in (CACHE / "labs").glob("[0-9]*")})


def outdated(images: Collection[dict[str, object]], current: Collection[str], now: float) -> list[str]:
    """Names of images that are neither current nor young.

    :param images: what `buildah images --json` says
    :param now: seconds since the epoch
    """
    found = []
    for image in images:
        names = image.get("names")
        names = [str(name) for name in names] if isinstance(names, list) else []
        created = image.get("created")
        if not isinstance(created, int) or now - created < KEPT_S or set(names) & set(current):
            continue
        found += [name for name in names if name.startswith(f"{NAME}:")]
    return sorted(found)


def sweep(registries: Path, claimed: Collection[str]) -> None:
    """Remove the registries of labs that are gone, and blobs that no tag of any lab leads to.

    :param registries: `<lab>/docker/registry/v2/repositories` of each lab, and their common `blobs`
    :param claimed: numbers of the labs there are
    """
    for registry in registries.glob("sf[0-9]*"):
        if registry.name.removeprefix("sf") not in claimed:
            shutil.rmtree(registry)
    blobs = registries / "blobs" / "sha256"
    needed = set(_needed(registries, blobs))
    oldest = time.time() - KEPT_S
    for blob in blobs.glob("*/*"):
        if blob.name not in needed and blob.stat().st_mtime < oldest:
            shutil.rmtree(blob)


def _needed(registries: Path, blobs: Path) -> Iterator[str]:
    """Hex digests of every tagged manifest, its configuration and its layers."""
    for link in registries.glob("sf*/docker/registry/v2/repositories/**/_manifests/tags/*/current/link"):
        digest = link.read_text().strip().removeprefix("sha256:")
        yield digest
        with suppress(FileNotFoundError):
            manifest = json.loads((blobs / digest[:2] / digest / "data").read_bytes())
            for part in (manifest["config"], *manifest["layers"]):
                yield str(part["digest"]).removeprefix("sha256:")

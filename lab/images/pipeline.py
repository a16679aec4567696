"""Build what changed and push what this lab's registry does not have yet."""

from __future__ import annotations

import fcntl
import hashlib
import re
import resource
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from lab import authority, roots
from lab.images import links, storage
from lab.paths import CACHE, Lab
from lab.upstream import indexes, server

HERE = Path(__file__).parent
BASE = "docker.io/library/debian:trixie-slim"
BASE_PACKAGES = ("ca-certificates", "python3")
BUILDS_AT_ONCE = 2  # one waits for a package index while the other computes
LONGEST = (
    "uptime-kuma",
    "litellm",
    "postgres",
    "bull-board",
)  # begun first: nothing waits for one alone in the end
MOUNTED = {
    "pip.conf": "/etc/pip.conf",
    "npmrc": "/root/.npmrc",
}  # for RUN steps, see lab/upstream/indexes.py


def references() -> dict[str, tuple[str, ...]]:
    """Names and tags of every image of the lab, by folder: one a line of its `reference`.

    :raises ValueError: a folder has no `reference`, or a line without registry or tag; two claim the same name
    """
    found: dict[str, tuple[str, ...]] = {}
    claimed: dict[str, Path] = {}
    for dockerfile in sorted(HERE.glob("*/Dockerfile")):
        file = dockerfile.with_name("reference")
        lines = file.read_text().split("\n") if file.is_file() else []
        names = [line.strip() for line in lines if line.strip()]
        for reference in names or [""]:
            registry, _, name = reference.partition("/")
            if "." not in registry or ":" not in name or " " in name:
                raise ValueError(f"{file}: {reference!r} is not REGISTRY/NAME:TAG")
            if reference in claimed:
                raise ValueError(f"{file}: {reference} is built from {claimed[reference]} already")
            claimed[reference] = file
        found[dockerfile.parent.name] = tuple(names)
    return found


def foundations(known: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Which of the lab's images each of them is built on (`FROM`), all by folder, in an order that can be built.

    :param known: what `references` says
    :raises ValueError: images stand on each other
    """
    folders = {reference: folder for folder, names in known.items() for reference in names}
    below = {
        folder: {
            folders[reference]
            for reference in re.findall(r"(?m)^FROM\s+(\S+)", (HERE / folder / "Dockerfile").read_text())
            if reference in folders
        }
        for folder in known
    }
    try:
        return {folder: below[folder] for folder in TopologicalSorter(below).static_order()}
    except CycleError as error:
        raise ValueError(f"images are built on each other: {' → '.join(error.args[1])}") from None


def build(lab: Lab, names: Iterable[str] | None = None) -> None:
    """Make the lab's registry offer the images. The upstream must be running.

    :param names: folders of the images; by default all of them
    """
    known = references()
    below = foundations(known)
    base_root = roots.root("image", BASE_PACKAGES)
    base = _digest(
        "base", base_root.name, authority.certificate_file().read_bytes(), (HERE / "make-base").read_bytes()
    )
    contents: dict[str, str] = {}
    for folder, foundation in below.items():
        parts = [contents[each] for each in sorted(foundation)]
        contents[folder] = _digest(folder, base, *parts, *_contents(HERE / folder))
    selected = set(below if names is None else names)
    todo = {each for each in selected if not _pushed(lab, known[each], contents[each])}
    if not todo and _pushed(lab, [BASE], base):
        return
    for folder in reversed(below):
        if folder in todo:
            todo |= below[folder]
    # One lab at a time: buildah's storage is shared by this user's labs, and so are the cores.
    with (CACHE / "containers.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for the image builds of another lab")
            fcntl.flock(lock, fcntl.LOCK_EX)
        server.run(lab, ["buildah", "rm", "--all"])  # what a killed build left
        _build_base(lab, base, base_root)
        _push(lab, [BASE], base)
        order = TopologicalSorter({folder: below[folder] for folder in below if folder in todo})
        _each_in_order(lab, order, known, contents)
        storage.prune(lab, {_local(base), *map(_local, contents.values())})


def _each_in_order(
    lab: Lab, order: TopologicalSorter[str], known: Mapping[str, Sequence[str]], contents: Mapping[str, str]
) -> None:
    """Build and push, some images side by side, each after those it is built on."""
    order.prepare()
    running: dict[Future[None], str] = {}
    with ThreadPoolExecutor(BUILDS_AT_ONCE) as builds:
        while order.is_active():
            for folder in sorted(order.get_ready(), key=lambda each: (each not in LONGEST, each)):
                job = builds.submit(_make, lab, folder, known[folder], contents[folder])
                running[job] = folder
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for job in done:
                folder = running.pop(job)
                try:
                    job.result()
                except BaseException:
                    builds.shutdown(cancel_futures=True)
                    raise
                order.done(folder)


def _make(lab: Lab, folder: str, names: Sequence[str], content: str) -> None:
    started = time.monotonic()
    if not _built(lab, content):
        _say(f"{folder}: building {', '.join(names)}")
        _build(lab, folder, content)
    built = time.monotonic()
    # Under its own names as well: other images' FROM.
    server.run(lab, ["buildah", "tag", _local(content), *names])
    _push(lab, names, content)
    _say(f"{folder}: built in {built - started:.0f} s, pushed in {time.monotonic() - built:.0f} s")


def _build_base(lab: Lab, content: str, root: Path) -> None:
    """Debian's own slim image, near enough, from a bootstrapped root; it trusts the lab's authority."""
    if not _built(lab, content):
        _say(f"building {BASE}")
        server.run(lab, ["/srv/images/make-base", f"/srv/roots/{root.name}", _local(content)], show=True)
    server.run(lab, ["buildah", "tag", _local(content), BASE])


def _build(lab: Lab, folder: str, content: str) -> None:
    mounts = [f"--volume=/srv/upstream/config/{file}:{path}:ro" for file, path in MOUNTED.items()]
    mounts += [f"--volume={path}:{path}:ro" for path in indexes.paths()]
    # buildah wants to raise these to a million, which not every machine lets it.
    limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    ulimits = [f"--ulimit={name}={_hard_limit(limit)}" for name, limit in limits.items()]
    command = [
        "/srv/images/make-image",
        folder,
        *mounts,
        *ulimits,
        f"--tag={_local(content)}",
        f"/srv/images/{folder}",
    ]
    server.run(lab, command, show=True)


def _push(lab: Lab, names: Sequence[str], content: str) -> None:
    """Push under each production name, then under the content's: that one says that the first is complete.

    What any lab has pushed before is not sent again.
    """
    registry = server.registry_storage(lab)
    for reference in names:
        if _pushed(lab, [reference], content):
            continue
        name, _, tag = reference.rpartition(":")
        tags = (tag, _tag(content))
        if digest := links.find(registry.parent, _repositories(names), _tag(content)):
            links.link(registry.parent, registry, name, tags, digest)
            continue
        options = ["--quiet", "--format=v2s2", "--compression-level=1"]
        for each in tags:
            server.run(lab, ["buildah", "push", *options, _local(content), f"docker://{name}:{each}"])


def _pushed(lab: Lab, names: Iterable[str], content: str) -> bool:
    """Whether each production tag leads to just this content: both tags name the same manifest."""
    registry = server.registry_storage(lab)
    for reference in names:
        name, _, tag = reference.rpartition(":")
        digests = {links.current(registry, name, each) for each in (tag, _tag(content))}
        if len(digests) != 1 or None in digests:
            return False
    return True


def _repositories(names: Iterable[str]) -> list[str]:
    """Names of images without their tags."""
    return [reference.rpartition(":")[0] for reference in names]


def _built(lab: Lab, content: str) -> bool:
    return bool(server.run(lab, ["buildah", "images", "--quiet", "--filter", f"reference={_local(content)}"]))


def _local(content: str) -> str:
    """Name of an image in buildah's storage."""
    return f"{storage.NAME}:{_tag(content)}"


def _tag(content: str) -> str:
    return f"lab-{content[:32]}"


def _hard_limit(limit: int) -> str:
    """This machine's hard limit, as both limits of a build."""
    hard = resource.getrlimit(limit)[1]
    return "1048576:1048576" if hard == resource.RLIM_INFINITY else f"{hard}:{hard}"


def _contents(folder: Path) -> list[str | bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [part for file in files for part in (str(file.relative_to(folder)), file.read_bytes())]


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _say(progress: str) -> None:
    print(progress, flush=True)  # noqa: T201 - progress

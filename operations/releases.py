"""Programs that are released as an archive and not as a package."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.cache import cached_fact
from facts.releases import Release, ReleaseState
from operations import script


def difference(actual: ReleaseState, mark: str, paths: Sequence[str]) -> str | None:
    """Why the release has to be installed, None if it is."""
    if actual.stamp is None:
        return "is not installed, or its installation was interrupted"
    if actual.stamp != mark:
        return f"is another one ({actual.stamp})"
    missing = [path for path in paths if path not in actual.present]
    return f"has lost {', '.join(missing)}" if missing else None


@operation()
def release(
    url: str,
    sha256: str,
    owns: Sequence[str],
    stamp: str,
    destination: str = "/usr/local",
) -> Generator[StringCommand, None, None]:
    """Install a pinned release archive: the host downloads it, checks it and swaps it in for the one before.

    What the release owns is replaced as a whole, so that an upgrade leaves no file of the old one. The stamp is
    removed first and written last: a run that is interrupted anywhere is repaired by the next. A unit that runs the
    program names the stamp in `Unit.restart_on`.

    + url: of the archive (anything that GNU tar recognises; zstd and curl have to be installed)
    + sha256: of the archive
    + owns: paths in the archive that are taken from it, relative to `destination`, such as `lib/ollama`
    + stamp: absolute path of the file that says which release is installed
    + destination: where it is unpacked
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise OperationValueError(f"{url}: {sha256!r} is not a sha256, expected 64 hexadecimal digits")
    if not owns or any(path.startswith(("/", "-")) or ".." in path.split("/") for path in owns):
        raise OperationValueError(f"{url}: owns {list(owns)!r}: expected paths inside the archive")
    paths = [f"{destination}/{path}" for path in owns]
    mark = f"{sha256} {url}"
    reason = difference(cached_fact(Release, stamp=stamp, paths=paths), mark, paths)
    if reason is None:
        host.noop(f"{url} is installed")
        return
    if state.is_executing or state.config.DIFF:
        host.log(f"{url}: {reason}")
    yield script.run("host/install-release.sh", url, sha256, destination, stamp, *owns, stream=True)

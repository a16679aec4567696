"""Packages of Debian and its relatives."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.apt import Installed, Packages, PackagesState
from facts.kept import ask
from operations import script


@dataclass(frozen=True)
class Package:
    """A wanted package.

    + name: of a real package (not a virtual one), without architecture
    + version: exact, or with `*` as apt takes it (`550.*`); None for whatever is there, or apt's candidate
    + unless: packages of which one suffices: if it is installed, this one is not wanted
    """

    name: str
    version: str | None = None
    unless: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.name, *self.unless):
            if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
                raise OperationValueError(f"package {name!r}: not the name of a package")
        if self.version is not None and not re.fullmatch(r"[A-Za-z0-9.+~:*-]+", self.version):
            raise OperationValueError(f"package {self.name}: {self.version!r} is not a version")

    def is_met_by(self, found: Installed | None) -> bool:
        """Whether what is installed will do."""
        return found is not None and (self.version is None or fnmatchcase(found.version, self.version))

    @property
    def argument(self) -> str:
        """As `apt-get install` takes it."""
        return self.name if self.version is None else f"{self.name}={self.version}"


@dataclass(frozen=True)
class Step:
    """One thing to do: an action of files/host/apply-packages.sh, its argument, and why."""

    action: str
    argument: str
    reason: str


def difference(
    present: Sequence[Package],
    held: Sequence[Package],
    absent: Sequence[str],
    found: PackagesState,
    cache_valid_s: int = 86400,
) -> list[Step]:
    """What has to be done to `found`; an empty list when it is as declared.

    Lists are fetched only if there is something to install and they are older than the sources or than
    `cache_valid_s`, or do not know it.
    """
    steps = [Step("repair", name, "was interrupted while it was installed") for name in found.broken]
    missing = []
    for package in (*present, *held):
        if any(name in found.installed for name in package.unless):
            continue
        there = found.installed.get(package.name)
        if not package.is_met_by(there):
            missing.append(package)
            reason = f"is {there.version}" if there else "is missing"
            if there and there.held:
                steps.append(Step("unhold", package.name, "is held in another version"))
            steps.append(Step("install", package.argument, reason))
        if package in held and not (there and there.held and package.is_met_by(there)):
            steps.append(Step("hold", package.name, "is not held"))
    for name in absent:
        if name in found.installed:
            if found.installed[name].held:
                steps.append(Step("unhold", name, "is held"))
            steps.append(Step("remove", name, f"is installed ({found.installed[name].version})"))
    stale = _stale(missing, found, cache_valid_s) if missing else None
    if stale is not None:
        steps.insert(0, Step("update", "lists", stale))
    return steps


def _stale(missing: Sequence[Package], found: PackagesState, cache_valid_s: int) -> str | None:
    """Why the lists have to be fetched before anything is installed, None if they need not be."""
    if found.updated is None:
        return "were never fetched"
    if found.sources_changed is not None and found.sources_changed > found.updated:
        return "are older than the sources"
    if found.now - found.updated > cache_valid_s:
        return f"are {(found.now - found.updated) / 3600:.0f} hours old"
    for package in missing:
        candidate = found.candidates.get(package.name)
        if candidate is None or not fnmatchcase(candidate, package.version or "*"):
            return f"do not know {package.argument}"
    return None


@operation()
def packages(
    present: Sequence[Package | str] = (),
    held: Sequence[Package | str] = (),
    absent: Sequence[str] = (),
    no_recommends: bool = False,
    cache_valid_s: int = 86400,
) -> Generator[StringCommand, None, None]:
    """Have packages installed, held at their version, or not installed: one question, one command for all.

    Nothing is upgraded that is there. Configuration files that were changed on the host stay. Another apt or dpkg that
    is at work is waited for (five minutes), one that was interrupted is completed. The output is shown as it comes.

    + present: installed, in whatever version unless `Package.version` says one
    + held: installed and kept at the version by every upgrade
    + absent: removed; their configuration files stay
    + no_recommends: install without recommended packages
    + cache_valid_s: age in seconds from which apt's lists are fetched again before something is installed
    """
    wanted = [Package(one) if isinstance(one, str) else one for one in present]
    kept = [Package(one) if isinstance(one, str) else one for one in held]
    names = [package.name for package in (*wanted, *kept)]
    others = [*absent, *(name for package in (*wanted, *kept) for name in package.unless)]
    both = set(names) & set(absent)
    if both:
        raise OperationValueError(f"declared both present and absent: {', '.join(sorted(both))}")
    if not names and not absent:
        host.noop("nothing declared")
        return
    found: PackagesState = ask(Packages, names=names, others=others)
    steps = difference(wanted, kept, absent, found, cache_valid_s)
    if not steps:
        host.noop(f"{len(wanted) + len(kept)} packages installed, {len(absent)} absent as declared")
        return
    if state.is_executing or state.config.DIFF:
        for step in steps:
            host.log(f"{step.argument}: {step.reason}: {step.action}")
    yield script.run(
        "host/apply-packages.sh",
        *(["--no-install-recommends"] if no_recommends else []),
        payload="".join(f"{step.action} {step.argument}\n" for step in steps),
        stream=True,
    )

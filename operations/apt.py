"""Packages of Debian and its relatives."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.apt import Packages, PackagesState
from facts.cache import cached_fact
from operations import script

# Age in seconds from which apt's lists are fetched again before something is installed.
LISTS_VALID_S = 86400


@dataclass(frozen=True)
class Package:
    """A package to install.

    :param name: of a real package (not a virtual one), without architecture
    :param unless: packages of which one suffices: if one is installed, this one is not
    :param masks: units of it that are masked before it is installed, so that installing does not start them
    """

    name: str
    unless: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.name, *self.unless):
            if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
                raise OperationValueError(f"package {name!r}: not the name of a package")


@dataclass(frozen=True)
class PackageStep:
    """One step: an action of files/host/apply-packages.sh, its argument, and the reason."""

    action: str
    argument: str
    reason: str


def difference(
    present: Sequence[Package], held: Sequence[Package], actual: PackagesState
) -> list[PackageStep]:
    """The steps from `actual` to the declared state; none where it is as declared.

    Lists are fetched only if there is something to install and they are older than the sources or than a day, or do
    not know it.
    """
    steps = [PackageStep("repair", name, "was interrupted while it was installed") for name in actual.broken]
    missing = []
    for package in (*present, *held):
        if any(name in actual.installed for name in package.unless):
            continue
        if package.name not in actual.installed:
            missing.append(package.name)
            steps += [PackageStep("mask", unit, f"{package.name} would start it") for unit in package.masks]
            steps.append(PackageStep("install", package.name, "is missing"))
        if package in held and package.name not in actual.held:
            steps.append(PackageStep("hold", package.name, "is not held"))
    stale = _stale(missing, actual) if missing else None
    if stale is not None:
        steps.insert(0, PackageStep("update", "lists", stale))
    return steps


def _stale(missing: Sequence[str], actual: PackagesState) -> str | None:
    """The reason to fetch the lists before an installation, None if there is none."""
    if actual.updated is None:
        return "were never fetched"
    if actual.sources_changed is not None and actual.sources_changed > actual.updated:
        return "are older than the sources"
    if actual.now - actual.updated > LISTS_VALID_S:
        return f"are {(actual.now - actual.updated) / 3600:.0f} hours old"
    unknown = [name for name in missing if name not in actual.candidates]
    return f"do not know {unknown[0]}" if unknown else None


@operation()
def packages(
    present: Sequence[Package | str] = (),
    held: Sequence[Package | str] = (),
    no_recommends: bool = False,
) -> Generator[StringCommand, None, None]:
    """Install packages, or hold them at their version: one question, one command for all.

    Nothing is upgraded that is there. Configuration files that were changed on the host stay. Another apt or dpkg that
    is at work is waited for (five minutes), one that was interrupted is completed. The output is shown as it comes.

    + present: installed, in whatever version
    + held: installed and kept at the version by every upgrade
    + no_recommends: install without recommended packages
    """
    desired = [Package(one) if isinstance(one, str) else one for one in present]
    kept = [Package(one) if isinstance(one, str) else one for one in held]
    names = [package.name for package in (*desired, *kept)]
    others = [name for package in (*desired, *kept) for name in package.unless]
    if not names:
        host.noop("nothing declared")
        return
    actual: PackagesState = cached_fact(Packages, names=names, others=others)
    steps = difference(desired, kept, actual)
    if not steps:
        host.noop(f"{len(names)} packages installed as declared")
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

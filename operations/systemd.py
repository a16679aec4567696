"""Units of systemd, declared together and applied in one transaction."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.cache import cached_fact
from facts.systemd import Units, UnitsState, UnitState
from operations import script
from operations.checks import poll

# Seconds that a unit on its way up gets before it is waited for by systemd itself, which counts as a change.
STARTED_S = 120
KINDS = "service|socket|timer|path|mount|swap|target|slice"


@dataclass(frozen=True)
class Unit:
    """The desired state of one unit.

    :param name: canonical name with its suffix, `ollama@heavy.service`
    :param enabled: at boot; None leaves it as it is. A unit without `[Install]` section can be neither, and stays
    :param running: None leaves it as it is, but restarts it when its configuration changed. A oneshot that does not
        remain counts as running when it has succeeded since its configuration last changed. A unit stays inactive where
        its own conditions are not met: systemd has decided
    :param masked: stopped and made impossible to start; `enabled` and `running` do not matter then
    :param restart_on: paths besides fragment, drop-ins and environment files that it reads when it starts
    :param reload_on: paths that it reads again when it is reloaded
    """

    name: str
    enabled: bool | None = True
    running: bool | None = True
    masked: bool = False
    restart_on: tuple[str, ...] = ()
    reload_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(rf"[\w:.\\][\w:.\\@-]*\.({KINDS})", self.name) or "@." in self.name:
            raise OperationValueError(
                f"unit {self.name!r}: expected the name of a unit or an instance with its suffix, as docker.service"
            )


@dataclass(frozen=True)
class UnitStep:
    """One step: an action of files/host/apply-units.sh, its unit, and the reason.

    :param waits: the unit is on its way up already, so that this is only the wait for it
    """

    action: str
    unit: str
    reason: str
    waits: bool = False


# States of a unit file in which `systemctl enable` has nothing to do or nothing it could do (systemctl(1)).
_ENABLED = {"enabled", "static", "generated", "transient", "alias", "indirect"}
_DISABLED = {"disabled", "static", "generated", "transient", "alias", "indirect", "masked", "bad", ""}


def difference(units: Iterable[Unit], actual: UnitsState) -> list[UnitStep]:
    """The steps from `actual` to the declared state; none where it is as declared."""
    steps: list[UnitStep] = []
    for unit in units:
        steps += _steps(unit, actual.units.get(unit.name, UnitState()), actual.mtimes)
    return steps


def _steps(unit: Unit, actual: UnitState, mtimes: dict[str, float]) -> Iterable[UnitStep]:
    masked = "masked" in (actual.load, actual.file) or actual.file == "masked-runtime"
    if unit.masked:
        if not masked or actual.file == "masked-runtime":
            yield UnitStep("mask", unit.name, f"is {actual.file or actual.load}")
        elif _is_up(actual):
            yield UnitStep("stop", unit.name, f"is masked and still {actual.active}")
        return
    steps = []
    if masked:
        steps.append(UnitStep("unmask", unit.name, "is masked"))
    if unit.enabled is True and (masked or actual.file not in _ENABLED):
        steps.append(UnitStep("enable", unit.name, f"is {actual.file or actual.load}"))
    if unit.enabled is False and actual.file not in _DISABLED:
        steps.append(UnitStep("disable", unit.name, f"is {actual.file}"))
    steps += _running(unit, actual, mtimes)
    # Only when it is needed: containers with a GPU can lose it in a reload. Of a unit that is unwanted and gone,
    # systemd may remember the last file for as long as it likes.
    unwanted = unit.enabled is False and unit.running is False
    if (actual.needs_daemon_reload and (steps or not unwanted)) or (steps and actual.load == "not-found"):
        yield UnitStep("daemon-reload", unit.name, "its unit files changed")
    yield from steps


def _settling(steps: Sequence[UnitStep]) -> list[str]:
    """Units that are starting already, where nothing else differs: waiting for them is no change."""
    return (
        [f"{step.unit}, which {step.reason}" for step in steps] if all(step.waits for step in steps) else []
    )


def _running(unit: Unit, actual: UnitState, mtimes: dict[str, float]) -> Iterable[UnitStep]:
    if unit.running is False:
        if _is_up(actual):
            yield UnitStep("stop", unit.name, f"is {actual.active}")
        elif actual.active == "failed":
            yield UnitStep("reset-failed", unit.name, "has failed")
        return
    newer = _newest_since(actual.started, (*actual.files, *unit.restart_on), mtimes)
    if actual.active in ("active", "reloading") or (unit.running is None and _is_up(actual)):
        if newer:
            yield UnitStep("restart", unit.name, f"{newer} changed since it started")
        elif actual.needs_daemon_reload:
            yield UnitStep("restart", unit.name, "its unit files changed since they were read")
        elif reloaded := _newest_since(actual.settled, unit.reload_on, mtimes):
            yield UnitStep("reload", unit.name, f"{reloaded} changed since it read it")
        return
    if unit.running is None:
        return
    if _waits_for_its_conditions(unit, actual, mtimes) or (_has_done_its_work(actual) and not newer):
        return
    if actual.sub == "auto-restart" or (newer and _is_up(actual)):
        yield UnitStep("restart", unit.name, f"is {actual.active} ({actual.sub})")
    else:  # of a unit that is on its way up, this is the wait for it
        yield UnitStep("start", unit.name, f"is {actual.active}", waits=actual.active == "activating")


def _is_up(actual: UnitState) -> bool:
    return actual.active in ("active", "reloading", "activating", "deactivating")


def _waits_for_its_conditions(unit: Unit, actual: UnitState, mtimes: dict[str, float]) -> bool:
    """Whether its conditions were checked since the last change, and are not met."""
    return (
        actual.active == "inactive"
        and not actual.condition_met
        and actual.condition_checked is not None
        and not actual.needs_daemon_reload
        and not _newest_since(actual.condition_checked, (*actual.files, *unit.restart_on), mtimes)
    )


def _has_done_its_work(actual: UnitState) -> bool:
    return (
        actual.active == "inactive"
        and actual.type == "oneshot"
        and not actual.remains
        and actual.started is not None
        and actual.result == "success"
        and not actual.needs_daemon_reload
    )


def _newest_since(since: float | None, paths: Iterable[str], mtimes: dict[str, float]) -> str | None:
    """The most recently changed of `paths` if that was after `since`."""
    if since is None:
        return None
    newest = max(paths, key=lambda path: mtimes.get(path, 0.0), default=None)
    return newest if newest is not None and mtimes.get(newest, 0.0) > since else None


@operation()
def units(units: Sequence[Unit]) -> Generator[StringCommand, None, None]:
    """Apply declared units: one question, and one command for all differences.

    Whether a unit has to be restarted is read off the host: it is when a file that configures it is newer than the
    process. A run that died between a file and the restart it asked for is therefore repaired by the next one.

    Units that are to run are started in one transaction, in systemd's own order, and have to be up a second later:
    otherwise the run fails with their last log lines.

    + units: the desired ones
    """
    twice = [name for name, count in Counter(unit.name for unit in units).items() if count > 1]
    if twice:
        raise OperationValueError(f"declared more than once: {', '.join(twice)}")
    if not units:
        host.noop("nothing declared")
        return
    paths = sorted({path for unit in units for path in (*unit.restart_on, *unit.reload_on)})
    names = [unit.name for unit in units]

    def differing() -> list[UnitStep]:
        return difference(units, cached_fact(Units, names=names, paths=paths))

    steps = poll(differing, _settling, STARTED_S if state.is_executing else 0)
    if not steps:
        host.noop(f"{', '.join(unit.name for unit in units)} as declared")
        return
    if state.is_executing or state.config.DIFF:
        for step in steps:
            host.log(f"{step.unit}: {step.reason}: {step.action}")
    yield script.run(
        "host/apply-units.sh", payload="".join(f"{step.action} {step.unit}\n" for step in steps), stream=True
    )

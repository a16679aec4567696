"""What systemd says about units, and how old their configuration is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "Type",
    "RemainAfterExit",
    "Result",
    "ConditionResult",
    "ConditionTimestamp",
    "InactiveExitTimestamp",
    "StateChangeTimestamp",
    "ExecMainStartTimestamp",
    "FragmentPath",
    "DropInPaths",
    "EnvironmentFiles",
)


@dataclass(frozen=True)
class UnitState:
    """One unit as `systemctl show` describes it (systemd.unit(5), org.freedesktop.systemd1(5)).

    Times are seconds since the epoch, None for never. `started` is when the process that runs now read its
    configuration; `settled` is later when it has been reloaded since.
    """

    load: str = "not-found"  # loaded, masked, not-found, bad-setting, error
    active: str = "inactive"
    sub: str = "dead"
    file: str = ""  # enabled, disabled, static, masked … (systemctl is-enabled), empty without a unit file
    needs_daemon_reload: bool = False
    type: str = ""
    remains: bool = False
    result: str = ""
    condition_met: bool = True
    condition_checked: float | None = None
    started: float | None = None
    settled: float | None = None
    files: tuple[str, ...] = ()  # fragment, drop-ins and environment files


@dataclass(frozen=True)
class UnitsState:
    """Answer of `Units`: states by the name asked for, and modification times (seconds since the epoch)."""

    units: dict[str, UnitState] = field(default_factory=dict)
    mtimes: dict[str, float] = field(default_factory=dict)


class Units(FactBase[UnitsState]):
    """State of many units in one question, with the age of every file that configures them.

    :param names: canonical unit names
    :param paths: further files whose age matters
    """

    def command(self, names: Iterable[str], paths: Iterable[str] = ()) -> StringCommand:
        """`systemctl show` for all units, then one `stat` for the files it named."""
        show = StringCommand(
            "LC_ALL=C systemctl show --no-pager --timestamp=us+utc",
            f"--property={','.join(PROPERTIES)}",
            "--",
            *(QuoteString(name) for name in names),
        )
        configuration = (
            r"s/^FragmentPath=\(.\)/\1/p; s/^EnvironmentFiles=\(.*\) (ignore_errors=.*/\1/p; "
            r"/^DropInPaths=/{ s/^DropInPaths=//; s/ /\n/g; p }"
        )
        return StringCommand(
            *("shown=$(", show, "2>/dev/null);"),
            'printf "%s\\n" "$shown" "== mtimes";',
            '{ printf "%s\\n" "$shown" | sed -n',
            QuoteString(configuration),
            *("; printf '%s\\n'", *(QuoteString(path) for path in paths), ";"),
            "} | sed '/^$/d' | sort -u | xargs -r -d '\\n' stat -L -c '%.Y %n' -- 2>/dev/null; true",
        )

    @staticmethod
    def default() -> UnitsState:
        """Nothing is known."""
        return UnitsState()

    def process(self, output: list[str]) -> UnitsState:
        """Read the answer of `command`."""
        return read_units(output)


def read_units(output: Iterable[str]) -> UnitsState:
    """Read what `Units.command` prints: a block of properties per unit, then modification times."""
    blocks: list[dict[str, list[str]]] = [{}]
    mtimes: dict[str, float] = {}
    lines = iter(output)
    for line in lines:
        if line == "== mtimes":
            break
        if not line:
            blocks.append({})
            continue
        key, _, value = line.partition("=")
        blocks[-1].setdefault(key, []).append(value)
    for line in lines:
        seconds, _, path = line.partition(" ")
        mtimes[path] = float(seconds)
    return UnitsState({block["Id"][0]: _unit(block) for block in blocks if "Id" in block}, mtimes)


def _unit(block: dict[str, list[str]]) -> UnitState:
    def value(key: str, default: str = "") -> str:
        return block.get(key, [default])[0] or default

    left_inactive = timestamp(value("InactiveExitTimestamp"))
    started = timestamp(value("ExecMainStartTimestamp")) or left_inactive
    environment = [
        line.rpartition(" (ignore_errors=")[0] or line for line in block.get("EnvironmentFiles", [])
    ]
    configuration = [value("FragmentPath"), *value("DropInPaths").split(), *environment]
    return UnitState(
        load=value("LoadState", "not-found"),
        active=value("ActiveState", "inactive"),
        sub=value("SubState", "dead"),
        file=value("UnitFileState"),
        needs_daemon_reload=value("NeedDaemonReload") == "yes",
        type=value("Type"),
        remains=value("RemainAfterExit") == "yes",
        result=value("Result"),
        condition_met=value("ConditionResult", "yes") == "yes",
        condition_checked=timestamp(value("ConditionTimestamp")),
        started=started,
        settled=max(filter(None, [started, timestamp(value("StateChangeTimestamp"))]), default=None),
        files=tuple(path for path in configuration if path),
    )


def timestamp(text: str) -> float | None:
    """Seconds since the epoch of `Mon 2025-10-06 12:34:56.123456 UTC` or `@1759754096`; None for never."""
    if match := re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?) UTC", text):
        return datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp()
    if match := re.fullmatch(r"@(\d+(?:\.\d+)?)", text):
        return float(match[1]) or None
    return None

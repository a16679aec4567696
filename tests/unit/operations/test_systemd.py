from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pyinfra.api.exceptions import OperationValueError

from facts.systemd import Units, UnitsState, UnitState, read_units, timestamp
from operations import systemd
from operations.script import FILES
from operations.systemd import Unit
from tests.unit.hosts import InTurn, commands

# `systemctl show --timestamp=us+utc` of systemd 257: a running instance, one refused by its conditions,
# an unknown one.
SHOWN = """\
Type=simple
RemainAfterExit=no
ExecMainStartTimestamp=Mon 2025-10-06 12:34:56.123456 UTC
EnvironmentFiles=/etc/ollama/heavy.env (ignore_errors=no)
EnvironmentFiles=/etc/default/my ollama (ignore_errors=yes)
Result=success
Id=ollama@heavy.service
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/etc/systemd/system/ollama@.service
DropInPaths=/etc/systemd/system/ollama@.service.d/10-gpu.conf /etc/systemd/system/service.d/x.conf
UnitFileState=enabled
StateChangeTimestamp=Mon 2025-10-06 12:34:56.130000 UTC
InactiveExitTimestamp=Mon 2025-10-06 12:34:56.120000 UTC
ConditionResult=yes
ConditionTimestamp=Mon 2025-10-06 12:34:56.110000 UTC
NeedDaemonReload=no

Id=dev-zram0.swap
LoadState=loaded
ActiveState=inactive
SubState=dead
FragmentPath=/run/systemd/generator/dev-zram0.swap
UnitFileState=generated
StateChangeTimestamp=
InactiveExitTimestamp=
ConditionResult=no
ConditionTimestamp=Mon 2025-10-06 12:00:00.000000 UTC
NeedDaemonReload=yes
Result=success

Id=nowhere.service
LoadState=not-found
ActiveState=inactive
SubState=dead
FragmentPath=
UnitFileState=
ConditionResult=no
ConditionTimestamp=
NeedDaemonReload=no

== mtimes
1759754000.5000000000 /etc/ollama/heavy.env
1759754090.1234567890 /etc/default/my ollama
"""


def test_reads_what_systemctl_shows() -> None:
    state = read_units(SHOWN.splitlines())
    heavy = state.units["ollama@heavy.service"]
    assert (heavy.load, heavy.active, heavy.sub, heavy.file, heavy.type) == (
        "loaded",
        "active",
        "running",
        "enabled",
        "simple",
    )
    assert heavy.started == 1759754096.123456 and heavy.settled == 1759754096.13
    assert heavy.files == (
        "/etc/systemd/system/ollama@.service",
        "/etc/systemd/system/ollama@.service.d/10-gpu.conf",
        "/etc/systemd/system/service.d/x.conf",
        "/etc/ollama/heavy.env",
        "/etc/default/my ollama",
    )
    zram = state.units["dev-zram0.swap"]
    assert zram.needs_daemon_reload and not zram.condition_met and zram.started is None
    assert state.units["nowhere.service"] == UnitState(condition_met=False)
    assert state.mtimes == {
        "/etc/ollama/heavy.env": 1759754000.5,
        "/etc/default/my ollama": 1759754090.123456789,
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Mon 2025-10-06 12:34:56.123456 UTC", 1759754096.123456),
        ("Mon 2025-10-06 12:34:56 UTC", 1759754096),
        ("@1759754096.5", 1759754096.5),
        ("@0", None),
        ("", None),
        ("n/a", None),
    ],
)
def test_reads_timestamps(text: str, seconds: float | None) -> None:
    assert timestamp(text) == seconds


def test_the_question_is_one_command_and_stats_what_systemctl_names(tmp_path: Path) -> None:
    (tmp_path / "an env").write_text("")
    (tmp_path / "extra").write_text("")
    fake = tmp_path / "systemctl"
    fake.write_text(
        "#!/bin/sh\nprintf '%s\\n' 'Id=a.service' 'FragmentPath=' 'DropInPaths=/etc/passwd /etc/group' "
        f"'EnvironmentFiles={tmp_path}/an env (ignore_errors=no)' 'NeedDaemonReload=no'\n"
    )
    fake.chmod(0o755)
    command = Units().command(["a.service"], [str(tmp_path / "extra"), "/missing"]).get_raw_value()
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    answer = subprocess.run(["sh", "-c", command], env=env, check=True, capture_output=True, text=True).stdout
    state = read_units(answer.splitlines())
    assert state.mtimes.keys() == {"/etc/passwd", "/etc/group", f"{tmp_path}/an env", f"{tmp_path}/extra"}
    assert abs(state.mtimes[f"{tmp_path}/extra"] - (tmp_path / "extra").stat().st_mtime) < 1e-3


def test_without_systemd_nothing_is_known() -> None:
    command = Units().command(["a.service"]).get_raw_value()
    answer = subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": "/nowhere"}, capture_output=True, text=True
    )
    assert read_units(answer.stdout.splitlines()) == UnitsState()


# --- the difference

UP = UnitState(
    "loaded", "active", "running", "enabled", started=100.0, settled=100.0, files=("/unit", "/env")
)
DOWN = replace(UP, active="inactive", sub="dead")
FAILED = replace(UP, active="failed", sub="failed", result="exit-code")
REFUSED = replace(DOWN, condition_met=False, condition_checked=100.0)
ONESHOT = replace(DOWN, type="oneshot", result="success")
MASKED = UnitState("masked", "inactive", "dead", "masked")
OLD = {"/unit": 50.0, "/env": 50.0, "/more": 50.0}
NAME, OTHER = "a.service", "b.service"

CASES: list[tuple[str, Unit, UnitState | None, dict[str, float], list[str]]] = [
    ("as declared", Unit(NAME), UP, OLD, []),
    ("as declared, files unreadable", Unit(NAME), UP, {}, []),
    ("static", Unit(NAME), replace(UP, file="static"), OLD, []),
    ("not declared at all", Unit(NAME, enabled=None, running=None), DOWN, OLD, []),
    ("off", Unit(NAME, enabled=False, running=False), replace(DOWN, file="disabled"), OLD, []),
    ("off and not there", Unit(NAME, enabled=False, running=False), None, OLD, []),
    (
        "off, its file gone, and systemd remembers it",
        Unit(NAME, enabled=False, running=False),
        replace(DOWN, file="bad", needs_daemon_reload=True),
        OLD,
        [],
    ),
    (
        "up, its file gone, to be off",
        Unit(NAME, enabled=False, running=False),
        replace(UP, file="bad", needs_daemon_reload=True),
        OLD,
        ["daemon-reload", "stop"],
    ),
    ("masked", Unit(NAME, masked=True), MASKED, OLD, []),
    ("its conditions say no", Unit(NAME), REFUSED, OLD, []),
    ("a oneshot that has run", Unit(NAME), ONESHOT, OLD, []),
    ("failed, and not ours to run", Unit(NAME, running=None), FAILED, OLD, []),
    ("not there yet", Unit(NAME), None, OLD, ["daemon-reload", "enable", "start"]),
    ("disabled", Unit(NAME), replace(UP, file="disabled"), OLD, ["enable"]),
    ("enabled", Unit(NAME, enabled=False), UP, OLD, ["disable"]),
    ("down", Unit(NAME), DOWN, OLD, ["start"]),
    ("failed", Unit(NAME), FAILED, OLD, ["start"]),
    ("failed, to be off", Unit(NAME, running=False), FAILED, OLD, ["reset-failed"]),
    ("on its way up", Unit(NAME), replace(UP, active="activating", sub="start"), OLD, ["start"]),
    ("crash loop", Unit(NAME), replace(UP, active="activating", sub="auto-restart"), OLD, ["restart"]),
    ("up, to be off", Unit(NAME, running=False), UP, OLD, ["stop"]),
    ("crash loop, to be off", Unit(NAME, running=False), replace(UP, active="activating"), OLD, ["stop"]),
    ("unit newer", Unit(NAME), UP, {**OLD, "/unit": 100.01}, ["restart"]),
    ("environment newer", Unit(NAME), UP, {**OLD, "/env": 101.0}, ["restart"]),
    (
        "environment newer, running is not ours",
        Unit(NAME, running=None),
        UP,
        {**OLD, "/env": 101.0},
        ["restart"],
    ),
    ("further file newer", Unit(NAME, restart_on=("/more",)), UP, {**OLD, "/more": 101.0}, ["restart"]),
    ("file of another unit newer", Unit(NAME), UP, {**OLD, "/more": 101.0}, []),
    ("file to reload newer", Unit(NAME, reload_on=("/more",)), UP, {**OLD, "/more": 101.0}, ["reload"]),
    (
        "reloaded since",
        Unit(NAME, reload_on=("/more",)),
        replace(UP, settled=102.0),
        {**OLD, "/more": 101.0},
        [],
    ),
    (
        "needs a reload of systemd",
        Unit(NAME),
        replace(UP, needs_daemon_reload=True),
        OLD,
        ["daemon-reload", "restart"],
    ),
    (
        "down, needs a reload",
        Unit(NAME, running=None),
        replace(DOWN, needs_daemon_reload=True),
        OLD,
        ["daemon-reload"],
    ),
    ("conditions, but changed", Unit(NAME), REFUSED, {**OLD, "/unit": 101.0}, ["start"]),
    ("conditions never looked at", Unit(NAME), replace(REFUSED, condition_checked=None), OLD, ["start"]),
    ("oneshot changed", Unit(NAME), ONESHOT, {**OLD, "/env": 101.0}, ["start"]),
    ("oneshot never ran", Unit(NAME), replace(ONESHOT, started=None), OLD, ["start"]),
    ("oneshot failed", Unit(NAME), replace(ONESHOT, active="failed", result="exit-code"), OLD, ["start"]),
    ("remaining oneshot is down", Unit(NAME), replace(ONESHOT, remains=True), OLD, ["start"]),
    ("to be masked", Unit(NAME, masked=True), UP, OLD, ["mask"]),
    ("to be masked, not there", Unit(NAME, masked=True), None, OLD, ["mask"]),
    ("masked but running", Unit(NAME, masked=True), replace(MASKED, active="active"), OLD, ["stop"]),
    ("to be unmasked", Unit(NAME), MASKED, OLD, ["unmask", "enable", "start"]),
]


@pytest.mark.parametrize(
    ("unit", "found", "mtimes", "actions"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_difference(
    unit: Unit, found: UnitState | None, mtimes: dict[str, float], actions: list[str]
) -> None:
    state = UnitsState({NAME: found} if found else {}, mtimes)
    assert [step.action for step in systemd.difference([unit], state)] == actions
    yielded = commands(systemd.units, {Units: state}, units=[unit])
    assert [command.payload for command in yielded] == (
        ["".join(f"{action} {NAME}\n" for action in actions)] if actions else []
    )


@pytest.mark.parametrize("then", ["active", "failed"])
def test_a_unit_on_its_way_up_is_waited_for_without_a_change(then: str) -> None:
    coming = UnitsState({NAME: replace(UP, active="activating", sub="start")}, OLD)
    come = UnitsState({NAME: replace(UP, active=then)}, OLD)
    yielded = commands(systemd.units, {Units: InTurn([coming, coming, come])}, units=[Unit(NAME)])
    assert bool(yielded) is (then == "failed")


def test_nobody_waits_for_a_unit_while_there_is_something_to_do(waited: list[float]) -> None:
    coming = replace(UP, active="activating", sub="start")
    found = UnitsState({NAME: coming, OTHER: UnitState()}, OLD)
    assert len(commands(systemd.units, {Units: found}, units=[Unit(NAME), Unit(OTHER)])) == 1
    assert waited == []


@pytest.mark.parametrize("name", ["docker", "a@.service", "a b.service", "-x.service", "a.conf", "*.service"])
def test_a_unit_has_a_canonical_name(name: str) -> None:
    with pytest.raises(OperationValueError):
        Unit(name)


def test_a_unit_is_declared_once() -> None:
    with pytest.raises(OperationValueError, match="more than once"):
        commands(systemd.units, {Units: UnitsState()}, units=[Unit(NAME), Unit(NAME)])


# --- the script, with a systemctl that records its arguments

SYSTEMCTL = r"""#!/bin/bash
[[ $1 == show ]] || { echo "$*" >>"$STATE/calls"; [[ -e $STATE/fail-$1 ]] && exit 1; exit 0; }
name=${3#--property=} unit=${@: -1}
name=${name#--value}; for a in "$@"; do [[ $a == --property=* ]] && name=${a#--property=}; done
file=$STATE/$unit.$name
if [[ $name == InvocationID && -e $STATE/$unit.loops ]]; then cat /proc/sys/kernel/random/uuid
elif [[ -e $file ]]; then cat "$file"
elif [[ $name == ActiveState ]]; then echo active
fi
"""


def apply(tmp_path: Path, lines: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "journalctl").write_text("#!/bin/sh\necho 'panic: no such card'\n")
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    for name in ("systemctl", "journalctl", "sleep"):
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STATE": str(tmp_path)}
    script = ["bash", str(FILES / "host/apply-units.sh")]
    run = subprocess.run(script, input=lines, env=env, capture_output=True, text=True)
    calls = tmp_path / "calls"
    return run, calls.read_text().splitlines() if calls.exists() else []


def test_everything_of_a_kind_is_done_at_once_and_in_order(tmp_path: Path) -> None:
    steps = "restart b.service, start a.service, enable a.service, start c.timer, daemon-reload a.service, mask x.path"
    run, calls = apply(tmp_path, steps.replace(", ", "\n") + "\n")
    assert run.returncode == 0, run.stderr
    assert calls == [
        "daemon-reload",
        "mask --quiet -- x.path",
        "stop -- x.path",
        "enable --quiet -- a.service",
        "reset-failed -- a.service c.timer b.service",
        "restart -- b.service",
        "start -- a.service c.timer",
    ]


def test_what_is_masked_and_not_there_is_not_stopped(tmp_path: Path) -> None:
    (tmp_path / "a.service.ActiveState").write_text("inactive\n")
    run, calls = apply(tmp_path, "mask a.service\n")
    assert run.returncode == 0 and calls == ["mask --quiet -- a.service"]


@pytest.mark.parametrize(
    ("state", "ok"),
    [
        ({"ActiveState": "active"}, True),
        ({"ActiveState": "failed"}, False),
        ({"ActiveState": "activating"}, False),
        ({"ActiveState": "active", "loops": ""}, False),
        ({"ActiveState": "inactive", "Type": "simple"}, False),
        ({"ActiveState": "inactive", "Type": "oneshot", "Result": "success"}, True),
        ({"ActiveState": "inactive", "ConditionResult": "no", "ConditionTimestamp": "Mon"}, True),
    ],
)
def test_a_unit_has_to_come_up_and_stay_up(tmp_path: Path, state: dict[str, str], ok: bool) -> None:
    for name, value in state.items():
        (tmp_path / f"a.service.{name}").write_text(value + "\n")
    run, _ = apply(tmp_path, "start a.service\n")
    assert (run.returncode == 0) == ok
    assert ("panic: no such card" in run.stderr) != ok
    if not ok:
        assert f"a.service: found {state['ActiveState']}" in run.stderr


def test_a_failed_reload_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "fail-reload").touch()
    run, _ = apply(tmp_path, "reload a.service\n")
    assert run.returncode != 0 and "panic" in run.stderr

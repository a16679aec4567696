"""The firewall's fact and operation without packets; test_firewall_rules.py has those."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError, OperationError, OperationValueError
from pyinfra.connectors.util import CommandOutput

from facts.files import Tree, TreeState
from facts.firewall import Firewall, FirewallState, read_firewall, read_tables
from facts.systemd import Units, UnitsState, UnitState
from operations import firewall
from operations.firewall import CHAINS, KEEP, Ruleset, difference, lockout
from operations.script import Script
from operations.trial import OverNewConnection
from specs.files import File
from tests.unit.hosts import commands
from tests.unit.operations.test_files import found
from tests.unit.paths import FIXTURES

ANSWER = (FIXTURES / "firewall.txt").read_text().splitlines()
RULESET = Ruleset(tcp=(22, 80, 443), udp=(443,), internal_tcp=(80, 443, *range(11434, 11439)))
OPEN = {"tcp": [22, 80, 443], "udp": [443], "internal_tcp": [80, 443, *range(11434, 11439)]}


def in_place() -> dict[type, Any]:
    """Facts of a host that has the firewall."""
    files = {
        entry.path: found(entry.data, int(entry.mode, 8))
        if isinstance(entry, File)
        else found(kind="directory", mode=0o755)
        for entry in firewall.installed(RULESET)
    }
    unit = UnitState(
        load="loaded",
        active="active",
        sub="exited",
        file="enabled",
        type="oneshot",
        remains=True,
        started=2.0,
    )
    return {
        Firewall: read_firewall(ANSWER),
        Tree: TreeState(cast(Any, files)),
        Units: UnitsState(
            {firewall.UNIT: unit, firewall.TIMER: replace(unit, type="", sub="waiting")},
            {"/etc/host-firewall/rules.v4": 1.0},
        ),
    }


# --- the fact


def test_reads_a_host_with_docker_and_the_firewall() -> None:
    state = read_firewall(ANSWER)
    assert state.session_port == 22
    assert not state.stale
    assert state.ipv4["mangle", "INPUT"] == ("-j HOST-INPUT",)
    assert state.ipv4["mangle", "HOST-INPUT"][-1] == "-j DROP"
    assert state.ipv6 is not None
    assert state.ipv6["mangle", "FORWARD"] == ("-j HOST-FORWARD",)
    assert difference(RULESET, state) == []


def test_reads_a_host_without_anything() -> None:
    assert read_firewall(["@@session", "", "@@listen", "@@stale", "@@ipv4"]) == FirewallState()
    assert Firewall.default() == FirewallState()


def test_reads_where_ssh_is_waited_for() -> None:
    listening = ["0.0.0.0:22", "[::]:22", "192.0.2.1:2222", "*:2200", "127.0.0.1:6010", "[::1]:6010", "2022"]
    assert read_firewall(["@@listen", *listening, "@@stale", "yes"]) == FirewallState(
        sshd_ports=frozenset({22, 2222, 2200, 2022}), stale=True
    )


def test_a_chain_without_rules_is_not_a_missing_one() -> None:
    assert read_tables([":OUTSIDE - [0:0]"]) == {("", "OUTSIDE"): ()}
    tables = read_tables(
        ["*filter", ":A ACCEPT [3:4]", "# -A A -j DROP", "-A A -s 192.0.2.0/24 -j DROP", "COMMIT"]
    )
    assert tables == {("filter", "A"): ("-s 192.0.2.0/24 -j DROP",)}


# --- the rules


@pytest.mark.parametrize(
    "wrong",
    [
        {"tcp": (70000,)},
        {"tcp": (0,)},
        {"tcp": ("22",)},
        {"tcp": (True,)},
        {"tcp": (22,), "udp": (443, 443)},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OperationValueError):
        Ruleset(**wrong)


def test_ssh_is_never_locked_out() -> None:
    assert list(lockout(RULESET, FirewallState())) == []
    assert list(lockout(RULESET, FirewallState(session_port=22, sshd_ports=frozenset({22})))) == []
    (by_session,) = lockout(RULESET, FirewallState(session_port=2222))
    assert by_session.found == "SSH on port 2222; this session came through 2222"
    (by_daemon,) = lockout(RULESET, FirewallState(session_port=22, sshd_ports=frozenset({22, 2200})))
    assert by_daemon.found.startswith("SSH on port 2200;")


def test_a_difference_says_what_it_is() -> None:
    state = read_firewall(ANSWER)
    reasons = difference(replace(RULESET, tcp=(22, 80, 443, 8443)), state)
    assert len(reasons) == 4, "two chains in two families"
    assert reasons[0].splitlines()[0] == "IPv4: HOST-INPUT has other rules"
    assert "+-p tcp -m tcp --dport 8443 -j ACCEPT" in reasons[0]


def test_ipv6_counts_where_there_is_any() -> None:
    without = replace(read_firewall(ANSWER), ipv6=None)
    assert difference(RULESET, without) == []
    assert len(difference(RULESET, replace(without, ipv6={}))) == 5


def test_a_jump_counts_while_it_is_reached() -> None:
    state = read_firewall(ANSWER)
    for rules, reached in (
        (("-p tcp -j f2b-sshd", "-j HOST-INPUT", "-j ACCEPT"), True),
        (("-s 192.0.2.9/32 -j DROP", "-j HOST-INPUT"), True),
        (("-p tcp -m tcp --dport 5432 -j ACCEPT", "-j HOST-INPUT"), False),
        (("-j RETURN", "-j HOST-INPUT"), False),
        ((), False),
    ):
        changed = replace(state, ipv4={**state.ipv4, ("mangle", "INPUT"): rules})
        expected = [] if reached else ["IPv4: INPUT does not come to HOST-INPUT"]
        assert difference(RULESET, changed) == expected, rules


def test_containers_have_a_list_of_their_own() -> None:
    """What the world may reach (SSH) is not theirs, whichever address of the host they ask."""
    for family in ("v4", "v6"):
        tables = read_tables(RULESET.render(family).splitlines())
        ours = tables["mangle", "HOST-INPUT"]
        first_open = next(index for index, rule in enumerate(ours) if "--dport" in rule)
        assert [ours.index(f"-i {name} -j HOST-CONTAINERS") < first_open for name in ("docker0", "br-+")] == [
            True
        ] * 2
        icmp, *accepted, last = tables["mangle", "HOST-CONTAINERS"]
        assert icmp == f"-p {'icmp' if family == 'v4' else 'ipv6-icmp'} -j ACCEPT"
        assert accepted == [f"-p tcp -m tcp --dport {port} -j ACCEPT" for port in RULESET.internal_tcp]
        assert last == "-j DROP"


def test_what_an_earlier_version_left_in_filter_is_a_difference() -> None:
    state = read_firewall(ANSWER)
    assert difference(RULESET, replace(state, ipv4={**state.ipv4, ("filter", "HOST-INPUT"): ()})) == [
        "IPv4: HOST-INPUT is in filter"
    ]


def test_rules_on_trial_are_not_in_place() -> None:
    """A run that died during a trial: they are gone in a moment."""
    assert difference(RULESET, replace(read_firewall(ANSWER), trial=True)) == [
        "they are on trial since a run that was interrupted"
    ]
    assert read_firewall(["@@trial", "yes"]).trial


# --- the operation


def test_nothing_to_do() -> None:
    assert commands(firewall.apply, in_place(), **OPEN) == []


def test_a_fresh_host_tries_before_it_keeps() -> None:
    fresh: dict[type, Any] = {
        Firewall: FirewallState(session_port=22),
        Tree: TreeState(),
        Units: UnitsState(),
    }
    steps = commands(firewall.apply, fresh, **OPEN)
    assert [type(step) for step in steps] == [
        Script,  # script and candidate rules
        StringCommand,  # try
        OverNewConnection,  # keep
        Script,  # rules, units
        StringCommand,  # daemon-reload
        Script,  # enable and start
    ]
    assert "/run/host-firewall/candidate/rules.v4" in steps[0].payload
    assert "/etc/host-firewall/rules.v4" not in steps[0].payload, "rules survive a reboot only once confirmed"
    assert str(steps[1]) == "/usr/local/sbin/host-firewall try /run/host-firewall/candidate 60"
    assert str(steps[2]) == "/usr/local/sbin/host-firewall keep"
    assert "/etc/systemd/system/docker.service.d/host-firewall.conf" in steps[3].payload
    assert "NeedDaemonReload" in str(steps[4])
    assert "enable host-firewall.service" in steps[5].payload
    assert "enable host-firewall-repair.timer" in steps[5].payload


def test_the_drop_in_of_docker_is_that_of_deployed_hosts() -> None:
    """Another text, were it but a comment, restarts Docker on every host at its next run."""
    files = {entry.path: entry for entry in firewall.installed(RULESET) if isinstance(entry, File)}
    drop_in = files["/etc/systemd/system/docker.service.d/host-firewall.conf"]
    assert drop_in.sha256.startswith("ce315e74235b5072")


def test_chains_that_somebody_flushed_are_put_back() -> None:
    facts = in_place()
    facts[Firewall] = replace(facts[Firewall], ipv4={})
    steps = commands(firewall.apply, facts, **OPEN)
    assert [str(step) for step in steps[1:]] == [
        "/usr/local/sbin/host-firewall try /run/host-firewall/candidate 60",
        "/usr/local/sbin/host-firewall keep",
    ]


def test_what_an_interrupted_run_left_is_finished() -> None:
    """The rules are live; it died before they were installed, or before systemd read the drop-in."""
    facts = in_place()
    facts[Tree] = TreeState()
    assert [type(step) for step in commands(firewall.apply, facts, **OPEN)] == [Script, StringCommand]
    facts = in_place()
    facts[Firewall] = replace(facts[Firewall], stale=True)
    assert [type(step) for step in commands(firewall.apply, facts, **OPEN)] == [StringCommand]


def test_rules_without_the_port_of_ssh_are_refused_first() -> None:
    with pytest.raises(OperationError, match=r"found: +SSH on port 2222"):
        commands(firewall.apply, {Firewall: FirewallState(session_port=2222)}, **OPEN)


def test_one_question_names_the_chains_it_is_about() -> None:
    command = Firewall().command(CHAINS).get_raw_value()
    assert command.startswith("sh -c ")
    assert command.endswith(" firewall.sh HOST-INPUT HOST-CONTAINERS HOST-FORWARD INPUT FORWARD")


class Connector:
    """A connection that a test looks at."""

    opened: list[Connector]
    error: Exception | None

    def __init__(self, state: object, host: object) -> None:
        self.ran: list[tuple[str, dict[str, Any]]] = []
        self.closed = False
        self.opened.append(self)

    def connect(self) -> None:
        if self.error:
            raise self.error

    def run_shell_command(self, command: StringCommand, **arguments: Any) -> tuple[bool, CommandOutput]:
        self.ran.append((str(command), arguments))
        return True, CommandOutput([])

    def disconnect(self) -> None:
        self.closed = True


@pytest.mark.parametrize("error", [None, ConnectError("timed out"), EOFError("no banner")])
def test_rules_are_confirmed_over_a_new_connection(error: Exception | None) -> None:
    Connector.opened, Connector.error = [], error
    established = Connector(None, None)
    output: list[str] = []
    host = SimpleNamespace(
        connector=established,
        run_shell_command=established.run_shell_command,
        log_styled=lambda text, **_: output.append(text),
    )
    state = SimpleNamespace(print_output=False, print_input=False)
    succeeded, _ = KEEP.execute(cast(Any, state), cast(Any, host), cast(Any, {"_sudo": True}))
    fresh = Connector.opened[1]
    assert fresh.closed
    assert succeeded is (error is None)
    if error is None:
        assert [ran for ran, _ in fresh.ran] == ["/usr/local/sbin/host-firewall keep"]
        assert fresh.ran[0][1]["_sudo"] is True
        assert not established.ran
        assert not output
    else:
        assert fresh.ran == []
        assert [ran for ran, _ in established.ran] == ["/usr/local/sbin/host-firewall rollback"]
        assert str(error) in output[0] and "expected one to confirm them" in output[0]

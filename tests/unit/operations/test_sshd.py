"""Settings of sshd beside those that the owner has made himself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.command import FunctionCommand

from facts.sshd import Sshd, SshdLine, SshdState, read_sshd
from operations import sshd
from operations.script import Script
from operations.sshd import Setting, contradictions, ineffective, lockout, owners, render
from operations.trial import OverNewConnection
from phases.hardware.ssh import PATH, SETTINGS
from tests.unit.hosts import commands, scripted_host

# What files/facts/sshd.sh prints on Debian 13, with a file of cloud-init's and a Match block in the main one.
ANSWER = """\
@@effective
maxauthtries 6
permitrootlogin without-password
passwordauthentication yes
kbdinteractiveauthentication no
permitemptypasswords no
x11forwarding yes
allowagentforwarding yes
subsystem sftp /usr/lib/openssh/sftp-server
@@files
/etc/ssh/sshd_config.d/50-cloud-init.conf:1:PasswordAuthentication yes
/etc/ssh/sshd_config.d/60-own.conf:1:PasswordAuthentication no
/etc/ssh/sshd_config.d/60-own.conf:2:Port 2222
/etc/ssh/sshd_config:12:Include /etc/ssh/sshd_config.d/*.conf
/etc/ssh/sshd_config:64:KbdInteractiveAuthentication no
/etc/ssh/sshd_config:87:UsePAM yes
/etc/ssh/sshd_config:92:X11Forwarding yes
/etc/ssh/sshd_config:117:Subsystem\tsftp\t/usr/lib/openssh/sftp-server
/etc/ssh/sshd_config:120:Match User backup,"operator"
/etc/ssh/sshd_config:121:    ForceCommand internal-sftp
/etc/ssh/sshd_config:122:    AllowAgentForwarding = yes
/etc/ssh/sshd_config:123:Match all
/etc/ssh/sshd_config:124:permitrootlogin no # not even with a key
@@default
Include /etc/ssh/sshd_config.d/*.conf
KbdInteractiveAuthentication no
UsePAM yes
X11Forwarding yes
Subsystem\tsftp\t/usr/lib/openssh/sftp-server
@@trial
@@keys
yes
""".splitlines()
OURS = sshd.FOR_EVERYBODY + (
    "KbdInteractiveAuthentication no\nPermitEmptyPasswords no\nX11Forwarding no\n"
    "AllowAgentForwarding no\nMaxAuthTries 4\n"
)
HARDENED = {setting.keyword.lower(): setting.value for setting in SETTINGS}


def test_reads_what_the_owner_has_set_beside_the_distribution() -> None:
    state = read_sshd(ANSWER)
    assert state.effective["maxauthtries"] == "6"
    assert [(line.place.rpartition("/")[2], line.keyword, line.value) for line in state.lines] == [
        ("50-cloud-init.conf:1", "passwordauthentication", "yes"),
        ("60-own.conf:1", "passwordauthentication", "no"),
        ("60-own.conf:2", "port", "2222"),
        ("sshd_config:121", "forcecommand", "internal-sftp"),
        ("sshd_config:122", "allowagentforwarding", "yes"),
        ("sshd_config:124", "permitrootlogin", "no"),
    ]
    assert [line.match for line in state.lines[3:]] == ['Match User backup,"operator"'] * 2 + [None]
    assert (state.ours, state.trial, state.keys) == (None, False, True)
    assert read_sshd([]) == Sshd.default() == SshdState()


def test_an_older_name_is_the_same_setting() -> None:
    state = read_sshd(["@@files", "/etc/ssh/sshd_config.d/a.conf:1:ChallengeResponseAuthentication yes"])
    assert owners(SETTINGS, state).keys() == {"kbdinteractiveauthentication"}


def test_what_the_owner_has_set_stays_his() -> None:
    state = read_sshd(ANSWER)
    assert owners(SETTINGS, state).keys() == {"passwordauthentication", "permitrootlogin"}
    assert render(SETTINGS, state) == OURS
    assert render(SETTINGS, SshdState()).count("\n") == 1 + len(SETTINGS)


def test_what_contradicts_is_named_with_its_place() -> None:
    password, agent = contradictions(SETTINGS, read_sshd(ANSWER))
    assert (
        "PasswordAuthentication yes in /etc/ssh/sshd_config.d/50-cloud-init.conf:1; expected no" in password
    )
    assert 'AllowAgentForwarding yes in /etc/ssh/sshd_config:122 (Match User backup,"operator")' in agent


def test_what_sshd_does_nevertheless_is_a_problem() -> None:
    state = read_sshd(ANSWER)
    assert [problem.what for problem in ineffective(SETTINGS, state)] == [
        "sshd: X11Forwarding",
        "sshd: AllowAgentForwarding",
        "sshd: MaxAuthTries",
    ]
    assert list(ineffective(SETTINGS, SshdState(effective=HARDENED))) == []


@pytest.mark.parametrize(
    ("method", "keys", "lines", "found"),
    [
        ("publickey", True, (), None),
        ("publickey", False, (), None),  # keys that no file holds
        (None, True, (), None),
        (None, False, (), "no key that opens this user's login"),
        ("password", True, (), "this session logged in with a password"),
        ("keyboard-interactive", True, (), "this session logged in with a password"),
        # The owner lets passwords in himself, and that is left.
        ("password", False, (SshdLine("a:1", "passwordauthentication", "yes"),), None),
        (None, False, (SshdLine("a:1", "passwordauthentication", "yes"),), None),
    ],
)
def test_nobody_is_locked_out(
    method: str | None, keys: bool, lines: tuple[SshdLine, ...], found: str | None
) -> None:
    problems = list(lockout(SETTINGS, SshdState(True, keys=keys, lines=lines), method))
    assert [problem.found for problem in problems] == ([found] if found else [])


def test_the_connection_says_how_it_logged_in() -> None:
    with scripted_host({}) as host:
        assert sshd.login_method() is None
        transport = SimpleNamespace(auth_handler=SimpleNamespace(auth_method="password"))
        client = SimpleNamespace(get_transport=lambda: transport)
        host.connector = SimpleNamespace(client=client)  # type: ignore[attr-defined]
        assert sshd.login_method() == "password"
        transport.auth_handler = None
        assert sshd.login_method() is None


def test_where_there_is_no_sshd_nobody_is_locked_out() -> None:
    assert list(lockout(SETTINGS, SshdState(), None)) == []
    assert run(SshdState()) == []


# --- the operation


def run(state: SshdState) -> list[Any]:
    return commands(sshd.settings, {Sshd: state}, path=PATH, settings=SETTINGS)


def test_nothing_to_do() -> None:
    assert run(SshdState(True, HARDENED, ours=render(SETTINGS, SshdState()))) == []


def test_new_settings_are_tried_before_they_are_kept() -> None:
    put, keep = run(SshdState(True, HARDENED))
    assert isinstance(put, Script)
    assert str(put).endswith(f"ssh/try.sh {PATH} 60 ssh-settings-rollback")
    assert put.payload == render(SETTINGS, SshdState())
    assert isinstance(keep, OverNewConnection)
    assert str(keep) == "systemctl stop ssh-settings-rollback.timer && rm -r /run/ssh-settings"


def test_what_an_interrupted_run_left_on_trial_is_tried_again() -> None:
    """It is there, and about to go by itself."""
    state = SshdState(True, HARDENED, ours=render(SETTINGS, SshdState()), trial=True)
    assert len(run(state)) == 2


def test_settings_that_sshd_does_not_read_fail_the_run() -> None:
    *_, failed = run(read_sshd(ANSWER))
    assert isinstance(failed, FunctionCommand)
    assert "sshd: MaxAuthTries" in failed.args[0]


def test_contradictions_are_reported_in_every_run() -> None:
    state = read_sshd([*ANSWER, "@@ours", *OURS.splitlines()])
    with scripted_host({Sshd: state}) as host:
        list(sshd.settings._inner(path=PATH, settings=SETTINGS))
    assert [line for line in host.logged if "50-cloud-init.conf:1" in line]


def test_a_stricter_value_is_no_contradiction() -> None:
    assert Setting("MaxAuthTries", "4", ("3",)).accepts("3")
    assert not Setting("MaxAuthTries", "4", ("3",)).accepts("6")
    assert not Setting("MaxAuthTries", "4").accepts(None)

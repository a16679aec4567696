"""Logins over SSH, and what they may do (requirements 11.6)."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.deploy import deploy

from facts.cache import cached_fact
from facts.sshd import Sshd
from operations import sshd
from operations.sshd import Setting
from specs.problems import Problem

PATH = "/etc/ssh/sshd_config.d/50-keys-only.conf"
# Forwarding of TCP ports stays: with it a person reaches services that listen on the loopback only.
SETTINGS = (
    Setting("PasswordAuthentication", "no"),
    Setting("KbdInteractiveAuthentication", "no"),
    Setting("PermitEmptyPasswords", "no"),
    Setting("PermitRootLogin", "prohibit-password", ("without-password", "forced-commands-only", "no")),
    Setting("X11Forwarding", "no"),
    # Root of this host could use the agent of a person who logs in.
    Setting("AllowAgentForwarding", "no"),
    # A client tries each key of its agent: fewer tries than the usual six, enough for a few keys.
    Setting("MaxAuthTries", "4", ("3", "2", "1")),
)


@deploy("SSH")
def ssh() -> None:
    """Allow logins with keys only, and no forwarding of displays or agents."""
    sshd.settings(name="Keys only", path=PATH, settings=SETTINGS)


def ssh_problems() -> Iterator[Problem]:
    """A problem where logins with keys only would lock out the person who runs this."""
    yield from sshd.lockout(SETTINGS, cached_fact(Sshd, path=PATH), sshd.login_method())

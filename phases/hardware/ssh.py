"""Who may log in over SSH, and what a login may do (requirements 11.6)."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.deploy import deploy

from facts.cache import cached_fact
from facts.sshd import Sshd
from operations import sshd
from operations.checks import Problem
from operations.sshd import Setting

PATH = "/etc/ssh/sshd_config.d/50-keys-only.conf"
# Forwarding of TCP ports stays: it is how a person reaches what listens on the loopback only.
SETTINGS = (
    Setting("PasswordAuthentication", "no"),
    Setting("KbdInteractiveAuthentication", "no"),
    Setting("PermitEmptyPasswords", "no"),
    Setting("PermitRootLogin", "prohibit-password", ("without-password", "forced-commands-only", "no")),
    Setting("X11Forwarding", "no"),
    # Root of this host could use the agent of whoever logs in.
    Setting("AllowAgentForwarding", "no"),
    # A client tries each key of its agent: less than the usual six, enough for a few.
    Setting("MaxAuthTries", "4", ("3", "2", "1")),
)


@deploy("SSH")
def ssh() -> None:
    """Keys only, and no forwarding of displays or agents."""
    sshd.settings(name="Keys only", path=PATH, settings=SETTINGS)


def ssh_problems() -> Iterator[Problem]:
    """Why keys only would lock out whoever runs this."""
    yield from sshd.lockout(SETTINGS, cached_fact(Sshd, path=PATH), sshd.login_method())

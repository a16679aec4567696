"""What a run requires of its login, before it asks the host anything as root."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from facts.sudo import SudoRefusal
from operations.checks import report
from specs.problems import Problem


def require_login() -> None:
    """Stop the run where the user of the connection cannot become root.

    :raises DeployError: with the reason
    """
    if host.data.get("_sudo") and (problems := list(sudo_problems())):
        raise DeployError(report("nothing was changed", problems))


def sudo_problems() -> Iterator[Problem]:
    """A problem where sudo wants a password, or is not there."""
    if refusal := host.get_fact(SudoRefusal, _sudo=False):
        yield Problem(
            "sudo",
            refusal,
            "a user who may use it without a password",
            "on the host, `visudo -f /etc/sudoers.d/USER` with the line USER ALL=(ALL:ALL) NOPASSWD: ALL",
        )

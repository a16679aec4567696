"""The desired server: declarations, what follows from them, and their problems. No pyinfra here."""

from __future__ import annotations

from typing import Any, Protocol

from blueprint.environment import environment_name as environment_name
from blueprint.host import Blueprint as Blueprint
from blueprint.keys import KEYS, checked
from blueprint.model import Project
from blueprint.phases import selected_phases as selected_phases
from blueprint.problems import DeclarationError as DeclarationError
from blueprint.problems import Violation as Violation
from blueprint.problems import render_problems as render_problems
from blueprint.render import render as render
from blueprint.secrets import Secrets as Secrets


class HostData(Protocol):
    """pyinfra's `host.data`."""

    def dict(self) -> dict[str, Any]:
        """All keys, those of pyinfra's connector included."""


def for_host(data: HostData) -> Blueprint:
    """The blueprint of the host with this data.

    :param data: `host.data`
    :raises DeclarationError: with all problems; inventory.py has found them before
    """
    known = {key: value for key, value in data.dict().items() if key in KEYS or isinstance(value, Project)}
    return checked(known)

"""Teams, virtual keys, users and models that a LiteLLM proxy has in its database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script

# What asks, changes and tries the proxy from inside its container, where the master key is.
PROGRAM = Path(__file__).resolve().parent.parent / "files" / "litellm" / "proxy.py"
# Seconds to wait for a proxy that is just starting.
WAIT_S = 60


@dataclass(frozen=True)
class TeamState:
    """A team. Its budget is in dollars, None without one, and so is what it spent of it; no models mean all of them."""

    id: str
    alias: str | None
    max_budget: float | None
    budget_duration: str | None
    models: tuple[str, ...]
    spend: float = 0.0


@dataclass(frozen=True)
class VirtualKey:
    """A virtual key, known by the sha256 of its value. Without a team, only its own budget limits it, if it has one."""

    hash: str
    alias: str | None
    team: str | None
    models: tuple[str, ...]
    user: str | None = None
    max_budget: float | None = None


@dataclass(frozen=True)
class ProxyUser:
    """A user who can log in to its page, or has keys."""

    id: str
    email: str | None = None
    role: str | None = None


@dataclass(frozen=True)
class ProxyState:
    """Answer of `Proxy`; nothing where none runs.

    :param models: names under which somebody added models to its database, beside those of its file
    """

    teams: tuple[TeamState, ...] = ()
    keys: tuple[VirtualKey, ...] = ()
    users: tuple[ProxyUser, ...] = ()
    models: tuple[str, ...] = ()


class Proxy(FactBase[ProxyState]):
    """Everything that is administered through the proxy's API, in one question.

    :param container: the proxy's
    :param port: where it listens in there
    :param required: it has to answer, or the fact fails with its output; otherwise no answer counts as not running
    """

    def command(self, container: str, port: int, required: bool = True) -> StringCommand:
        """The script and its arguments."""
        must = "yes" if required else "no"
        return script.command("litellm.sh", container, PROGRAM.read_text(), port, WAIT_S, must)

    @staticmethod
    def default() -> ProxyState:
        """No proxy."""
        return ProxyState()

    def process(self, output: list[str]) -> ProxyState:
        """Read the answer of `command`."""
        return read_proxy(output)


def read_proxy(output: Iterable[str]) -> ProxyState:
    """Read what files/facts/litellm.sh prints."""
    line = next((line for line in output if line), None)
    if line is None:
        return ProxyState()
    answer = script.from_json(line, "LiteLLM")
    return ProxyState(
        teams=tuple(TeamState(**team | {"models": tuple(team["models"])}) for team in answer["teams"]),
        keys=tuple(VirtualKey(**key | {"models": tuple(key["models"])}) for key in answer["keys"]),
        users=tuple(ProxyUser(**user) for user in answer["users"]),
        models=tuple(answer["models"]),
    )

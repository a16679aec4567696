"""Containers of a host, whatever made them."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.docker import Statuses
from operations import script

UP = ("running", "restarting", "paused")


@operation()
def stopped(containers: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Stop containers, one after the other. Those that do not exist are ignored.

    Docker does not start them again, not even at boot, except those with the restart policy `always`.

    + containers: names, in the order in which they are stopped
    """
    actual: dict[str, str] = host.get_fact(Statuses, names=containers)
    if todo := [name for name in containers if actual.get(name) in UP]:
        yield script.run("docker/stop.sh", *todo, stream=True)
    else:
        host.noop("none of them runs")

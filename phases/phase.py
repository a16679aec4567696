"""What a phase is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from blueprint import Blueprint


@dataclass(frozen=True)
class Phase:
    """One phase of the checklist.

    :param number: in the checklist
    :param name: what `--data phase=` takes; the number is accepted too
    :param group: inventory group of the hosts that it is for
    :param deploy: adds its operations; takes `applied`, what the host has with this phase, and the `secrets`
    :param running: what runs on a host that has it, for the report at the end of a run
    :param depends_on: names of the phases that a host must have before
    :param provided_secrets: secrets that others issue and that it needs
    :param summary: what it deploys, for messages about a host that lacks it
    """

    number: int
    name: str
    group: str
    deploy: Callable[..., object]
    running: Callable[[Blueprint], Iterable[str]] = lambda blueprint: ()
    depends_on: tuple[str, ...] = ()
    provided_secrets: Callable[[Blueprint], Iterable[str]] = lambda blueprint: ()
    summary: str = ""

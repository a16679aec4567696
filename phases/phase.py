"""What a phase is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from blueprint import Blueprint, Secrets
from blueprint.applied import Applied


class Deploy(Protocol):
    """Adds the operations of a phase to the run; `applied` is what the host has with it."""

    def __call__(self, *, applied: Applied, secrets: Secrets) -> object: ...


@dataclass(frozen=True)
class Phase:
    """One phase of the checklist.

    :param number: in the checklist
    :param name: what `--data phase=` takes; the number is accepted too
    :param group: inventory group of the hosts that it is for
    :param deploy: adds its operations to the run
    :param running: what runs on a host that has it, for the report at the end of a run
    :param depends_on: names of the phases that a host must have before
    :param provided_secrets: secrets that others issue and that it needs
    :param summary: what it deploys, for messages about a host that lacks it
    """

    number: int
    name: str
    group: str
    deploy: Deploy
    running: Callable[[Blueprint], Iterable[str]] = lambda blueprint: ()
    depends_on: tuple[str, ...] = ()
    provided_secrets: Callable[[Blueprint], Iterable[str]] = lambda blueprint: ()
    summary: str = ""

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
    :param group: hosts of this inventory group get it
    :param deploy: what brings it, given the host's `blueprint`, `given`: what it then has been given, and the `secrets`
    :param running: what runs on a host that has it, for the report at the end of a run
    :param stands_on: names of the phases that have to be there before
    :param provided: secrets that others issue and that it needs
    :param brings: what the host has of it, for whoever misses it
    """

    number: int
    name: str
    group: str
    deploy: Callable[..., object]
    running: Callable[[Blueprint], Iterable[str]] = lambda blueprint: ()
    stands_on: tuple[str, ...] = ()
    provided: Callable[[Blueprint], Iterable[str]] = lambda blueprint: ()
    brings: str = ""

"""What the lab's server has once every phase was deployed."""

from __future__ import annotations

from functools import cache

from blueprint import group_data
from blueprint.given import Given
from phases import phases_of


@cache
def everything() -> Given:
    """The lab's declarations, for a host with all phases."""
    blueprint = group_data.read().blueprint("lab")
    return Given(blueprint, frozenset(phase.name for phase in phases_of(blueprint)))

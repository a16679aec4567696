"""What the lab's server has once every phase was deployed."""

from __future__ import annotations

from functools import cache

from blueprint import group_data
from blueprint.applied import Applied
from phases import phases_of


@cache
def everything() -> Applied:
    """The lab's declarations, for a host with all phases."""
    blueprint = group_data.read().blueprint("lab")
    return Applied(blueprint, frozenset(phase.name for phase in phases_of(blueprint)))

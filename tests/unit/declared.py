"""Declarations for tests: those of tests/unit/declarations, with a few of them replaced."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from blueprint import Blueprint, group_data
from blueprint.model import Gpu
from tests.unit.paths import DECLARATIONS

HEAVY = "GPU-bdb1f5e4"
LIGHT = "GPU-85c38fae"
TWITCH = "GPU-d4fb9c68"


def declared(profile: str = "celeron_g4930", leave_out: Collection[str] = (), **replaced: Any) -> Blueprint:
    """What the tests declare for a server of production, with some keys replaced.

    :param leave_out: files of declarations that are not read, such as a project's
    """
    replaced.setdefault("hardware_profile", profile)
    host = group_data.Layer("host", "a test", replaced)
    some = group_data.GroupData({name: layer for name, layer in _layers().items() if name not in leave_out})
    return some.blueprint("production", host)


@cache
def _layers() -> Mapping[str, group_data.Layer]:
    return group_data.read(DECLARATIONS).layers


def gpu(**fields: Any) -> Gpu:
    """A card that is in order, but for these fields."""
    sound: dict[str, Any] = {"bus": "01:00.0", "uuid": LIGHT, "model": "RTX 3070", "vram_mib": 8192}
    return Gpu(**sound | fields)

"""Declared teams of a LiteLLM proxy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class KeyedTeam:
    """A team with its one virtual key.

    :param id: LiteLLM's, unlike the alias unique
    :param alias: how it is shown
    :param key_alias: how its key is shown
    :param key: the key's value, beginning with "sk-"
    :param max_budget: dollars that it may spend in `budget_duration`
    :param budget_duration: "30d"
    :param models: models and aliases it may ask for; none means all
    """

    id: str
    alias: str
    key_alias: str
    key: str = field(repr=False)
    max_budget: float
    budget_duration: str
    models: tuple[str, ...] = ()

    @property
    def key_hash(self) -> str:
        """As LiteLLM keeps it."""
        return hashlib.sha256(self.key.encode()).hexdigest()

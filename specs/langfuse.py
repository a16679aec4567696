"""Projects as they are to be in Langfuse."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TraceProject:
    """A project with its one key pair.

    :param id: its id and its name
    :param public_key: beginning with "pk-lf-"
    :param secret_key: beginning with "sk-lf-"
    """

    id: str
    public_key: str
    secret_key: str = field(repr=False)

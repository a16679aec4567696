"""Budget of a card's memory: weights, KV cache, Ollama's reserve, whisper, and containers that compute on it.

The KV cache grows with the context and with the requests answered at once, which is why a faster processor alone does
not allow more of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blueprint.model import Gpu, OllamaInstance, OllamaModel

_MIB = 1024 * 1024
# llama.cpp's q8_0 keeps 32 values in a block of 34 bytes: 32 of eight bits and one scale of sixteen.
_Q8_0_BYTES, _Q8_0_VALUES = 34, 32

# Percentage of a card's memory from which a run warns, the same as the watchdog's (requirements 10.4).
WARNING_PERCENT = 90


@dataclass(frozen=True)
class Share:
    """A use of a card's memory.

    :param what: the user of the memory
    :param mib: memory, in MiB
    :param arithmetic: how `mib` was computed
    """

    what: str
    mib: int
    arithmetic: str


@dataclass(frozen=True)
class CardBudget:
    """The budget of a card.

    :param shares: its uses while no container computes
    :param working: its uses while a container computes and an instance has unloaded its model (requirements 4.2); empty
        if that never happens
    """

    gpu: Gpu
    shares: tuple[Share, ...]
    working: tuple[Share, ...] = ()

    @property
    def fullest(self) -> tuple[Share, ...]:
        """The larger of the two."""
        return max(self.shares, self.working, key=_sum)

    @property
    def total_mib(self) -> int:
        """The largest use at any time, in MiB."""
        return _sum(self.fullest)

    @property
    def fits(self) -> bool:
        """Whether the largest use fits."""
        return self.total_mib <= self.gpu.vram_mib

    def warnings(self) -> Iterator[str]:
        """A sentence where the largest use is near the limit."""
        if self.fits and 100 * self.total_mib > WARNING_PERCENT * self.gpu.vram_mib:
            yield (
                f"card {self.gpu.uuid} ({self.gpu.model}): {self}, more than {WARNING_PERCENT} % of its"
                f" {self.gpu.vram_mib}"
            )

    def __str__(self) -> str:
        sums = " + ".join(f"{share.what} {share.mib}" for share in self.fullest)
        return f"{sums} = {self.total_mib} MiB"


def _sum(shares: Iterable[Share]) -> int:
    return sum(share.mib for share in shares)


def kv_cache_mib(model: OllamaModel, context_length: int, parallel: int) -> int:
    """Size of the KV cache at q8_0 in MiB, rounded up.

    :param context_length: tokens of one request
    :param parallel: requests answered at once, each with a context of its own
    """
    values = 2 * model.layers * model.kv_heads * model.head_dim * context_length * parallel
    return math.ceil(values * _Q8_0_BYTES / _Q8_0_VALUES / _MIB)


def ollama_shares(instance: OllamaInstance, model: OllamaModel, parallel: int) -> tuple[Share, Share]:
    """Weights and KV cache of one instance."""
    arithmetic = (
        f"2 x {model.layers} layers x {model.kv_heads} heads x {model.head_dim} x 34/32 bytes"
        f" x {instance.context_length} tokens x {parallel} requests"
    )
    return (
        Share(f"weights of {model.name}", model.weights_mib, "4-bit weights as loaded"),
        Share(
            f"KV cache of {instance.name}", kv_cache_mib(model, instance.context_length, parallel), arithmetic
        ),
    )

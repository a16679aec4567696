"""What a card has to hold: weights, KV cache, what Ollama leaves alone, whisper, containers that compute on it.

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

# From this share of a card on, the owner is told: where the watchdog would tell of it as well (requirements 10.4).
TIGHT_PERCENT = 90


@dataclass(frozen=True)
class Share:
    """One thing on a card.

    :param what: what takes the memory
    :param mib: how much, in MiB
    :param arithmetic: how that was computed
    """

    what: str
    mib: int
    arithmetic: str


@dataclass(frozen=True)
class CardBudget:
    """A card and everything on it.

    :param shares: what is on it while no container computes
    :param working: what is on it while one does, for which an instance has unloaded its model (requirements 4.2); empty
        where none ever does
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
        """The most that is on it at any time, in MiB."""
        return _sum(self.fullest)

    @property
    def fits(self) -> bool:
        """Whether that is at most what the card has."""
        return self.total_mib <= self.gpu.vram_mib

    def warnings(self) -> Iterator[str]:
        """What fits, and leaves little."""
        if self.fits and 100 * self.total_mib > TIGHT_PERCENT * self.gpu.vram_mib:
            yield (
                f"card {self.gpu.uuid} ({self.gpu.model}): {self}, more than {TIGHT_PERCENT} % of its"
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

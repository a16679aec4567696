"""How much memory a model takes, and on which simulated GPU it goes."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

from .settings import Settings, log
from .store import Model

MIB = 1024 * 1024
COMPUTE_BYTES = 256 * MIB
"""CUDA's context and the compute graph; an order of magnitude, llama.cpp's depends on the model and the batch."""
BYTES_PER_VALUE = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""llama.cpp keeps blocks of 32 values with one scale of two bytes."""
PROCESS = "/usr/local/bin/ollama"


@dataclass(frozen=True)
class Need:
    """What a model takes with one context for each parallel request, in bytes."""

    weights: int
    kv_cache: int
    layers: int

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + COMPUTE_BYTES

    def on_gpu(self, free: int, most: int | None = None) -> int:
        """Bytes that go to a GPU with so many free: everything, or as many layers as fit, but not more than `most`."""
        if self.total <= free and (most is None or most >= self.layers):
            return self.total
        layer = (self.weights + self.kv_cache) / self.layers
        layers = int((free - COMPUTE_BYTES) // layer)
        layers = layers if most is None else min(layers, most)
        return int(layers * layer) + COMPUTE_BYTES if layers > 0 else 0


def need(model: Model, settings: Settings, context: int) -> Need:
    """What a model takes with these settings.

    :param context: tokens of one request
    """
    kind = settings.kv_cache_type
    if kind != "f16" and not settings.flash_attention:
        log("WARN", "quantized kv cache requested but flash attention disabled", type=kind)
        kind = "f16"
    heads, layers = model.fact("attention.head_count_kv"), model.fact("block_count")
    values = 2 * context * settings.num_parallel * layers * heads * model.fact("attention.key_length")
    return Need(model.weights_bytes, int(values * BYTES_PER_VALUE.get(kind, 2.0)), layers + 1)


class Gpus:
    """The cards that CUDA_VISIBLE_DEVICES lets this process see. None without a driver."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        sys.path.append("/usr/lib/gpu-sim")
        self._state: Any = None
        try:
            self._state = importlib.import_module("gpusim.state")
        except ImportError:
            log("INFO", "no compatible GPUs were discovered")

    def visible(self) -> list[Any]:
        """The visible cards, by the rules of CUDA: an unknown entry hides itself and all that follow."""
        if self._state is None or not self._state.driver_loaded():
            return []
        present = self._state.load().present
        visible = self._settings.cuda_visible_devices
        if visible is None:
            return list(present)
        chosen = []
        for entry in visible.split(","):
            token = entry.strip()
            if token.isdecimal():
                found = present[int(token) : int(token) + 1]
            else:
                found = [gpu for gpu in present if token.startswith("GPU-") and gpu.uuid.startswith(token)]
            if len(found) != 1 or found[0] in chosen:
                break
            chosen += found
        return chosen

    def free(self, gpu: Any) -> int:
        """Bytes that a model may take on a card, less what OLLAMA_GPU_OVERHEAD leaves alone."""
        with self._state.runtime() as known:
            return int(known.free_mib(gpu)) * MIB - self._settings.gpu_overhead

    def take(self, needed: Need, layers: int | None = None) -> tuple[str | None, int]:
        """Take memory for a model: the card, and how many of its bytes are there; the rest is the CPU's.

        :param layers: the most that may be on a card; None for all
        """
        for gpu in sorted(self.visible(), key=self.free, reverse=True):
            size = needed.on_gpu(self.free(gpu), layers)
            while size > 0:
                if self._state.allocate(gpu.uuid, -(-size // MIB), PROCESS):
                    return gpu.uuid, size
                size = needed.on_gpu(min(self.free(gpu), size - MIB), layers)  # someone was faster
        return None, 0

    def give(self, uuid: str, size: int) -> None:
        """Give back what one model held."""
        self._state.release(uuid, os.getpid(), -(-size // MIB))

    def has(self, uuid: str) -> bool:
        """Whether a card that was used is still there."""
        return any(gpu.uuid == uuid for gpu in self.visible())

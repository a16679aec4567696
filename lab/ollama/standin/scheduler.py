"""Which models are in memory, who may use them now, and who waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .memory import Gpus, need
from .settings import FOREVER, Settings, log
from .store import Model

BUSY = "server busy, please try again.  maximum pending requests exceeded"
TICK_S = 0.2
OF_A_RUNNER = ("num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict")


def runner_of(request: dict[str, Any]) -> Runner:
    """What a request wants its model started with."""
    options = request.get("options") or {}
    shift = request.get("shift")
    # As many layers as fit is what it is anyway.
    requested = {name: options[name] for name in OF_A_RUNNER if options.get(name) is not None}
    if requested.get("num_gpu", 0) < 0:
        del requested["num_gpu"]
    return Runner(tuple(requested.items()), shift is None or bool(shift))


class BusyError(Exception):
    """More requests wait than OLLAMA_MAX_QUEUE allows."""


@dataclass(frozen=True)
class Runner:
    """What a model is started with, beside its context; a request that wants it otherwise has it loaded anew.

    :param options: of `OF_A_RUNNER`, as the request has them
    :param shift: whether the context moves on when it is full
    """

    options: tuple[tuple[str, object], ...] = ()
    shift: bool = True

    @property
    def layers(self) -> int | None:
        """How many layers may be on the GPU; None for all."""
        requested = dict(self.options).get("num_gpu")
        return requested if isinstance(requested, int) and requested >= 0 else None


@dataclass
class Loaded:
    """A model in memory. `expires` in seconds since the epoch; sizes in bytes."""

    model: Model
    context: int
    size: int
    gpu: str | None
    size_vram: int
    settings: Runner
    keep_alive: float
    expires: float
    active: int = 0


class Scheduler:
    """Loads models when they are asked for, and unloads them when they have been idle for long enough."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.gpus = Gpus(settings)
        self._changed = threading.Condition()
        self._loaded: dict[str, Loaded] = {}
        self._waiting = 0
        threading.Thread(target=self._expire, daemon=True).start()

    @contextmanager
    def use(
        self, model: Model, keep_alive: float | None, context: int | None = None, runner: Runner = Runner()
    ) -> Iterator[Loaded]:
        """A model in memory, for one request; raises BusyError.

        :param keep_alive: seconds to keep it afterwards; the server's default if None
        :param context: tokens of context; the server's default if None
        :param runner: what else the model has to be started with
        """
        requested = context or self.settings.context_length
        keep = self.settings.keep_alive if keep_alive is None else keep_alive
        loaded = self._acquire(model, requested, runner, keep)
        try:
            yield loaded
        finally:
            with self._changed:
                loaded.active -= 1
                loaded.keep_alive = keep
                loaded.expires = time.time() + keep
                if keep == 0 and loaded.active == 0:
                    self._unload(loaded)
                self._changed.notify_all()

    def _acquire(self, model: Model, context: int, runner: Runner, keep: float) -> Loaded:
        with self._changed:
            self._forget_lost_cards()
            ready = self._ready(model, context, runner)
            if ready is None:
                if self._waiting >= self.settings.max_queue:
                    raise BusyError(BUSY)
                self._waiting += 1
                try:
                    while (ready := self._ready(model, context, runner)) is None:
                        self._changed.wait()
                finally:
                    self._waiting -= 1
            ready.active += 1
            ready.keep_alive = keep
            return ready

    def _ready(self, model: Model, context: int, runner: Runner) -> Loaded | None:
        """The model in memory with a free slot, loaded if there is room for it; None means wait."""
        loaded = self._loaded.get(model.digest)
        if loaded and (loaded.context, loaded.settings) == (context, runner):
            return loaded if loaded.active < self.settings.num_parallel else None
        if loaded is None and len(self._loaded) < self.settings.max_loaded_models:
            return self._load(model, context, runner)
        idle = [other for other in ([loaded] if loaded else self._loaded.values()) if other.active == 0]
        if not idle:
            return None
        self._unload(min(idle, key=lambda other: other.expires))
        return self._load(model, context, runner)

    def _load(self, model: Model, context: int, runner: Runner) -> Loaded:
        needed = need(model, self.settings, context)
        gpu, size_vram = self.gpus.take(needed, runner.layers)
        on_gpu = needed.layers * size_vram // needed.total
        log(
            "INFO",
            "offloaded layers to GPU",
            model=model.name,
            gpu=gpu or "none",
            layers=f"{on_gpu}/{needed.layers}",
        )
        loaded = Loaded(model, context, needed.total, gpu, size_vram, runner, 0.0, FOREVER)
        self._loaded[model.digest] = loaded
        return loaded

    def _unload(self, loaded: Loaded) -> None:
        if self._loaded.get(loaded.model.digest) is loaded:
            del self._loaded[loaded.model.digest]
            if loaded.gpu:
                self.gpus.give(loaded.gpu, loaded.size_vram)

    def unload(self, model: Model) -> None:
        """Remove a model from memory, at the end of its last request."""
        with self._changed:
            loaded = self._loaded.get(model.digest)
            if loaded:
                loaded.expires = 0.0
                if loaded.active == 0:
                    self._unload(loaded)
                self._changed.notify_all()

    def loaded(self) -> list[Loaded]:
        """The models in memory."""
        with self._changed:
            self._forget_lost_cards()
            return list(self._loaded.values())

    def _forget_lost_cards(self) -> None:
        """A runner whose card is gone dies; the next request loads again, with what is left."""
        for loaded in list(self._loaded.values()):
            if loaded.gpu and not self.gpus.has(loaded.gpu):
                log(
                    "ERROR",
                    "llama runner terminated",
                    model=loaded.model.name,
                    error="CUDA error: no device",
                    id=loaded.gpu,
                )
                self._unload(loaded)

    def _expire(self) -> None:
        while True:
            time.sleep(TICK_S)
            with self._changed:
                for loaded in list(self._loaded.values()):
                    if loaded.active == 0 and loaded.expires <= time.time():
                        self._unload(loaded)
                        self._changed.notify_all()

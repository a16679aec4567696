"""Health of a container: its wires, checked in parallel, each as often as its check is worth."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .wires import Wire, WireError

FRESH_S = 2.0  # age up to which a report is reused
RETRY_S = 15.0  # time until an expensive check that failed is repeated
_log = logging.getLogger("scaffold.health")


@dataclass(frozen=True)
class State:
    """Result of the last check of a wire: None if it works, and its time (monotonic seconds)."""

    problem: str | None
    at: float


class Health:
    """Checks of one container's wires.

    Expensive checks (`Wire.every_s`) run in the background, so that no request waits for a model. The container is not
    healthy before the first of them has succeeded.

    :param clock: seconds that only grow
    """

    def __init__(self, wires: Sequence[Wire], clock: Callable[[], float] = time.monotonic) -> None:
        self._wires = wires
        self._clock = clock
        self._states: dict[str, State] = {}
        self._running: set[str] = set()
        self._lock = threading.Lock()
        self._reported = -FRESH_S
        self._pool = ThreadPoolExecutor(max(1, len(wires)), thread_name_prefix="wire")

    def report(self) -> tuple[bool, dict[str, object]]:
        """Whether all required wires work, and an entry for each wire."""
        with self._lock:
            if self._clock() - self._reported >= FRESH_S:
                cheap = [wire for wire in self._wires if wire.every_s is None]
                for wire in self._wires:
                    if wire.every_s is not None and self._due(wire, wire.every_s):
                        self._running.add(wire.name)
                        self._pool.submit(self._background, wire)
                list(self._pool.map(self._check, cheap))
                self._reported = self._clock()
            entries: dict[str, object] = {}
            healthy = True
            for wire in self._wires:
                state = self._states.get(wire.name, State("not checked yet", 0.0))
                entries[wire.name] = {"ok": state.problem is None} | (
                    {"problem": state.problem} if state.problem else {}
                )
                healthy = healthy and (state.problem is None or not wire.required)
            return healthy, {"status": "ok" if healthy else "unhealthy", "wires": entries}

    def _due(self, wire: Wire, every_s: float) -> bool:
        state = self._states.get(wire.name)
        if wire.name in self._running:
            return False
        return state is None or self._clock() - state.at >= (RETRY_S if state.problem else every_s)

    def _background(self, wire: Wire) -> None:
        try:
            self._check(wire)
        finally:
            self._running.discard(wire.name)

    def _check(self, wire: Wire) -> None:
        before = self._states.get(wire.name)
        try:
            wire.check()
            problem = None
        except WireError as error:
            problem = str(error)
        except Exception:
            _log.exception("%s: the check failed", wire.name)
            problem = "the check failed"
        self._states[wire.name] = State(problem, self._clock())
        if before is None or before.problem != problem:
            _log.log(logging.WARNING if problem else logging.INFO, "%s: %s", wire.name, problem or "works")

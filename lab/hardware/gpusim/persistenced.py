"""`nvidia-persistenced`: a daemon that keeps the driver loaded, seen as persistence mode of all cards."""

from __future__ import annotations

import signal
import sys

from .state import driver_loaded, load, runtime


def main() -> int:
    """Switch persistence mode on until the daemon is stopped."""
    if not driver_loaded():
        sys.stderr.write("nvidia-persistenced failed to initialize. Check syslog for more details.\n")
        return 1
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    _set([gpu.uuid for gpu in load().present])
    signal.sigwait(stop)
    _set([])
    return 0


def _set(uuids: list[str]) -> None:
    with runtime() as known:
        known.persistent = uuids

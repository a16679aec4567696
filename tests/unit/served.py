"""An ASGI application on a port of its own, with a client for it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.types import ASGIApp

START_S = 10.0
# Of a client of plain HTTP: else each reads all authorities of the web, which takes longer than most tests.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def serving(application: ASGIApp) -> Iterator[httpx.Client]:
    """The application, served by uvicorn on loopback as long as the context lasts."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = threading.Event()
    for _ in range(int(START_S * 100)):
        if server.started:
            break
        deadline.wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=NO_AUTHORITIES) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(START_S)

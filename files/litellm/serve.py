"""LiteLLM's own command with the guard before its application.

    python3 serve.py [arguments of `litellm`]

LiteLLM's CLI migrates its database, sets up its workers, and passes the name of its application to `uvicorn.run`. This
program passes the guarded application instead, on two ports: for containers, and for the public domain's proxy.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import litellm
import uvicorn
from guard.asgi import Guard
from guard.rules import Declared
from uvicorn.supervisors import Multiprocess

DECLARED = Path(__file__).with_name("declared.json")
LITELLM = "litellm.proxy.proxy_server:app"
GUARDED = "serve:guarded"


def declared() -> Declared:
    return Declared.read(DECLARED.read_text())


def guarded() -> Guard:
    """LiteLLM's application behind the guard; every worker makes its own."""
    from litellm.proxy import proxy_server

    parts = {part for route in proxy_server.app.routes for part in getattr(route, "path", "").split("/")}
    words = frozenset(part for part in parts if part and "{" not in part)
    return Guard(proxy_server.app, declared(), os.environ["LITELLM_MASTER_KEY"], owner_of, words)


async def owner_of(key: str) -> tuple[str, frozenset[str]] | None:
    """Team and models of a key, from the same places as LiteLLM: its cache, then its database."""
    from litellm.proxy import proxy_server
    from litellm.proxy._types import hash_token
    from litellm.proxy.auth.auth_checks import get_key_object

    try:
        record = await get_key_object(
            hashed_token=hash_token(key),
            prisma_client=proxy_server.prisma_client,
            user_api_key_cache=proxy_server.user_api_key_cache,
            proxy_logging_obj=proxy_server.proxy_logging_obj,
        )
    except Exception:  # any error of the database: an unknown owner is none
        return None
    models = frozenset(record.team_models or ())
    if any(model.startswith("all-") for model in models):  # LiteLLM's own words for "all of them"
        models = frozenset()
    return record.team_id or "", models


def run(app: str, **options: Any) -> None:
    """LiteLLM's CLI calls this instead of `uvicorn.run`."""
    if app != LITELLM:
        sys.exit(
            f"found:    LiteLLM starts {app!r}\nexpected: {LITELLM}\nfix:      read its proxy_cli.py and adapt serve.py"
        )
    ports = declared()
    options |= {
        "access_log": False,  # the guard has its own, without text of the caller
        "proxy_headers": False,  # the domain has its own port
        "ws": "none",  # the log would have the addresses of WebSockets
        "factory": True,
        "port": ports.port,
    }
    config = uvicorn.Config(GUARDED, **options)
    sockets = [_listen(config.host, port) for port in (ports.port, ports.domain_port)]
    server = uvicorn.Server(config)
    if config.workers > 1:
        # As uvicorn 0.29 has it, which LiteLLM 1.63 pins.
        Multiprocess(config, target=server.run, sockets=sockets).run()  # type: ignore[call-arg]
    else:
        server.run(sockets=sockets)
    if not server.started and config.workers == 1:
        sys.exit(3)  # as uvicorn.run does


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=2048)
    listener.set_inheritable(True)
    return listener


if __name__ == "__main__":
    setattr(uvicorn, "run", run)  # noqa: B010 - its own type is more than LiteLLM uses
    litellm.run_server()

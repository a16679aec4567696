"""HTTP: a backend's or frontend's page, and its health."""

from __future__ import annotations

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from .health import Health
from .settings import Settings
from .wires import laid

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{role}</title></head>
<body><h1>{role}</h1><p>Scaffolding: the real program has not been deployed yet.
<a href="/api/health">Its wires</a></p></body></html>
"""


def application(health: Health, role: str) -> Starlette:
    """The program that answers, with nothing on the network but the wires."""

    def page(_: Request) -> HTMLResponse:
        return HTMLResponse(PAGE.format(role=role))

    def report(_: Request) -> JSONResponse:
        well, content = health.report()
        return JSONResponse(content, status_code=200 if well else 503)

    return Starlette(routes=[Route("/", page), Route("/api/health", report)])


def serve(settings: Settings, role: str) -> None:
    """Answer on the settings' port until SIGTERM."""
    with httpx.Client() as client:
        health = Health(laid(settings, client))
        health.report()  # the dear checks start now, not with the first question
        uvicorn.run(
            application(health, role),
            host="0.0.0.0",  # noqa: S104 - inside its container
            port=settings.port,
            access_log=False,
            server_header=False,
            log_config=None,
        )

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
from .wires import configured_wires

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{role}</title></head>
<body><h1>{role}</h1><p>Scaffolding: the real program has not been deployed yet.
<a href="/api/health">Its wires</a></p></body></html>
"""


def application(health: Health, role: str) -> Starlette:
    """The HTTP application, which uses the network only for the wires."""

    def page(_: Request) -> HTMLResponse:
        return HTMLResponse(PAGE.format(role=role))

    def report(_: Request) -> JSONResponse:
        healthy, content = health.report()
        return JSONResponse(content, status_code=200 if healthy else 503)

    return Starlette(routes=[Route("/", page), Route("/api/health", report)])


def serve(settings: Settings, role: str) -> None:
    """Answer on the settings' port until SIGTERM."""
    with httpx.Client() as client:
        health = Health(configured_wires(settings, client))
        health.report()  # the expensive checks start now, not with the first request
        uvicorn.run(
            application(health, role),
            host="0.0.0.0",  # noqa: S104 - inside its container
            port=settings.port,
            access_log=False,
            server_header=False,
            log_config=None,
        )

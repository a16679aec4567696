"""The image's program: a frontend, a Celery worker or a backend, depending on the container's environment.

Usage: scaffold [backend|frontend|worker]
"""

from __future__ import annotations

import logging
import os
import sys

from .settings import Settings, SettingsError, read

ROLES = ("backend", "frontend", "worker")


def role(settings: Settings) -> str:
    """The role of a container: with queues it is a worker, with a backend it is a frontend."""
    if settings.queues:
        return "worker"
    return "frontend" if settings.backend_url else "backend"


def main() -> int:
    """Run in the role that the arguments or the environment name."""
    arguments = sys.argv[1:]
    if len(arguments) > 1 or not set(arguments) <= set(ROLES):
        sys.stderr.write(f"usage: scaffold [{'|'.join(ROLES)}]\n")
        return 2
    try:
        settings = read(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"the container's environment:\n{error}\n")
        return 1
    if settings == Settings(port=settings.port):
        sys.stderr.write(
            "the container's environment: no wire is configured, such as DATABASE_URL or BACKEND_URL\n"
        )
        return 1
    selected = arguments[0] if arguments else role(settings)
    if selected == "worker" and not settings.queues:
        sys.stderr.write("the container's environment:\nCELERY_QUEUES: must be set for a worker\n")
        return 1
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs a line for every check
    if selected == "worker":
        from . import worker  # Celery takes half of the memory, and HTTP does not need it

        return worker.run(settings)
    from . import web

    web.serve(settings, selected)
    return 0


if __name__ == "__main__":
    sys.exit(main())

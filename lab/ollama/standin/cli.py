"""The commands of `ollama`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from . import VERSION
from .api import Server
from .settings import Settings, log, read

TIMEOUT_S = 600


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="ollama", description="Large language model runner (simulated)")
    parser.add_argument("-v", "--version", action="store_true")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", aliases=["start"])
    commands.add_parser("list", aliases=["ls"])
    commands.add_parser("ps")
    commands.add_parser("pull").add_argument("model")
    commands.add_parser("rm").add_argument("model")
    run = commands.add_parser("run")
    run.add_argument("model")
    run.add_argument("prompt", nargs="*")
    options = parser.parse_args(arguments)
    settings = read(os.environ)
    if options.version:
        return _version(settings)
    if options.command in ("serve", "start"):
        return serve(settings)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return _ask(settings, options)
    except urllib.error.HTTPError as error:
        sys.stderr.write(f"Error: {json.load(error)['error']}\n")
    except OSError:
        sys.stderr.write("Error: could not connect to ollama server, run 'ollama serve' to start it\n")
    return 1


def serve(settings: Settings) -> int:
    """Answer until the process is ended."""
    try:
        server = Server(settings)
    except OSError as error:
        sys.stderr.write(f"Error: listen tcp {settings.host}:{settings.port}: bind: {error.strerror}\n")
        return 1
    log("INFO", "server config", env={name: str(value) for name, value in vars(settings).items()})
    for gpu in server.scheduler.gpus.visible():
        log(
            "INFO",
            "inference compute",
            id=gpu.uuid,
            library="CUDA",
            description=gpu.name,
            pci_id=f"0000:{gpu.bus}",
        )
    log("INFO", f"Listening on {settings.host}:{settings.port} (version {VERSION})")
    server.serve_forever()
    return 0


def _ask(settings: Settings, options: argparse.Namespace) -> int:
    match options.command:
        case "list" | "ls":
            for model in next(_call(settings, "GET", "/api/tags"))["models"]:
                _row(
                    model["name"], model["digest"][:12], f"{model['size'] / 1e9:.1f} GB", model["modified_at"]
                )
        case "ps":
            for model in next(_call(settings, "GET", "/api/ps"))["models"]:
                gpu = round(100 * model["size_vram"] / model["size"])
                where = {100: "100% GPU", 0: "100% CPU"}.get(gpu, f"{100 - gpu}%/{gpu}% CPU/GPU")
                _row(
                    model["name"],
                    model["digest"][:12],
                    f"{model['size'] / 1e9:.1f} GB",
                    where,
                    model["expires_at"],
                )
        case "pull":
            for step in _call(settings, "POST", "/api/pull", {"model": options.model}):
                if "error" in step:
                    sys.stderr.write(f"Error: {step['error']}\n")
                    return 1
                sys.stderr.write(f"{step['status']}\n")
        case "rm":
            list(_call(settings, "DELETE", "/api/delete", {"model": options.model}))
            sys.stdout.write(f"deleted '{options.model}'\n")
        case "run":
            request = {"model": options.model, "prompt": " ".join(options.prompt)}
            for part in _call(settings, "POST", "/api/generate", request):
                sys.stdout.write(part.get("response", ""))
            sys.stdout.write("\n")
    return 0


def _row(*cells: str) -> None:
    sys.stdout.write("    ".join(cells) + "\n")


def _version(settings: Settings) -> int:
    try:
        answered = next(_call(settings, "GET", "/api/version"))["version"]
        sys.stdout.write(f"ollama version is {answered}\n")
    except (OSError, StopIteration):
        sys.stdout.write("Warning: could not connect to a running Ollama instance\n")
        answered = ""
    if answered != VERSION:
        sys.stdout.write(f"Warning: client version is {VERSION}\n")
    return 0


def _call(settings: Settings, method: str, path: str, body: Any = None) -> Iterator[dict[str, Any]]:
    """The objects that a running server answers, one a line."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - not bound to
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{host}:{settings.port}{path}", content, method=method)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http as written above
        for line in answer:
            yield json.loads(line)

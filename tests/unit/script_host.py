"""A folder as the host has it: the scripts in one folder, fake programs on PATH, and a small Telegram."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from blueprint.model import Paths
from blueprint.render import render
from tests.unit import fake_docker
from tests.unit.declarations.all import paths
from tests.unit.paths import CHECKOUT

TOKEN = "123456:not-a-real-token"  # noqa: S105 - made up
PASSWORD = "canary-of-redis"  # noqa: S105 - made up


class Server(ThreadingHTTPServer):
    """Keeps what it was sent, and can answer with an error."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, Any]] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        if self.server.status == 200:
            self.server.received.append((self.path, body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b'{"ok":true,"result":{}}')

    def log_message(self, *args: object) -> None:
        pass


@cache
def scripts(sources: tuple[str, ...]) -> TemporaryDirectory[str]:
    """These folders of files/ in one, as on the host; compiled by the first that runs them."""
    folder = TemporaryDirectory()
    for source in sources:
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / "files" / source, folder.name, dirs_exist_ok=True, ignore=without)
    return folder


class ScriptHost:
    """One host. `engine` is what its docker answers; `save` it after a change.

    :cvar sources: folders of files/ whose scripts it has; only a change of these affects its tests
    """

    sources: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.telegram = Server()
        self.scripts = Path(scripts(self.sources).name)
        self.programs = folder / "bin"
        self.programs.mkdir()
        fake_docker.install(self.programs)
        self.paths = Paths(
            **{
                **vars(paths),
                "config": str(folder / "etc"),
                "state": str(folder / "state"),
            }
        )
        (folder / "etc").mkdir(mode=0o700)
        (folder / "etc" / "telegram.ini").write_text(render("gpu/telegram.ini.j2", token=TOKEN, chat="-100"))
        self.engine: dict[str, Any] = {"containers": {}}

    def save(self) -> None:
        fake_docker.save(self.engine, self.programs)

    def write(self, name: str, text: str) -> Path:
        """A file in the folder of settings, with Telegram's address replaced by the small one's."""
        path = self.folder / "etc" / name
        path.write_text(text.replace("https://api.telegram.org", self.telegram.url))
        return path

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        self.save()
        return subprocess.Popen(
            ["/bin/sh", str(self.scripts / script), *arguments],
            env={"PATH": f"{self.programs}:/usr/local/bin:/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(script, *arguments)
        out, err = process.communicate(timeout=60)
        assert err == "", err
        assert TOKEN not in out and PASSWORD not in out
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def messages(self) -> list[str]:
        """What Telegram was sent since the last call, without host and time."""
        texts = [body["text"] for _, body in self.telegram.received if body]
        self.telegram.received = [one for one in self.telegram.received if not one[1]]
        return [f"{text[0]} {text.split(': ', 1)[1]}" for text in texts]

    @property
    def arguments(self) -> str:
        return (self.programs / "arguments").read_text()

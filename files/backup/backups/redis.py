"""A Redis server, saved by its own replication: the snapshot does not stop it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containers import Process, ScriptError, docker, inside

from backups import scratch
from backups.piece import Contents
from backups.settings import Redis
from backups.store import CHUNK, compressed, decompressed

DUMP = "dump.rdb.zst"
SOCKET = "/tmp/restore-test.sock"  # noqa: S108 - in a container of our own
RDB = "/tmp/dump.rdb"  # noqa: S108 - likewise


@dataclass(frozen=True)
class Keys:
    """All databases of a server."""

    server: Redis
    min_bytes = 0
    may_shrink = True  # queues empty themselves, caches expire

    @property
    def name(self) -> str:
        return f"redis/{self.server.container}/all"

    def estimate(self) -> int:
        used = re.search(r"^used_memory:(\d+)", self._query("INFO", "memory"), re.MULTILINE)
        return int(used[1]) if used else 0

    def save(self, folder: Path) -> Contents:
        login, secrets = self.server.login, self._secrets
        user = ["--user", login.user] if login.user else []
        command = inside(
            self.server.container,
            "redis-cli",
            "--no-auth-warning",
            *user,
            "--rdb",
            "-",
            secrets=secrets,
        )
        with compressed(folder / DUMP) as file, Process(command, stdout=file.fileno(), secrets=secrets):
            pass
        return self._contents(folder)

    def check(self, folder: Path, contents: Mapping[str, Any]) -> None:
        # Redis' checker has read the snapshot when it was saved.
        with decompressed(folder / DUMP):
            pass

    def test(self, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        """The scratch server is a replica without a master: such a one expires no keys, so the counts are exact."""
        with scratch.idle(self.server.container) as name:
            _put(name, folder)
            settings = (
                f"--port 0 --unixsocket {SOCKET} --dir /tmp --dbfilename dump.rdb --save '' --appendonly no"
                " --replicaof 127.0.0.1 1 --daemonize yes --logfile /tmp/redis.log"
            )
            # With this option Valkey reads what a Redis 7.4 or 8 saved that was here before.
            relaxed = "$(command -v valkey-server >/dev/null && echo --rdb-version-check relaxed)"
            docker(*inside(name, "sh", "-c", f"redis-server {settings} {relaxed}"))

            def loaded() -> str:
                info = docker(*inside(name, "redis-cli", "-s", SOCKET, "INFO"))
                if "loading:0" not in info:
                    raise ScriptError("it is still loading")
                return info

            scratch.await_answer(loaded, "the restored Redis")
            keys = sum(int(count) for count in re.findall(r"^db\d+:keys=(\d+)", loaded(), re.MULTILINE))
        return [] if keys == contents["keys"] else [f"{keys} keys instead of {contents['keys']}"]

    @property
    def _secrets(self) -> dict[str, str]:
        """The password in the container's own file: the declared one may be newer than what the server has read."""
        try:
            password = docker(*inside(self.server.container, "cat", self.server.password_file)).rstrip("\n")
        except ScriptError:
            password = ""
        password = password or self.server.login.password
        return {"REDISCLI_AUTH": password} if password else {}

    def _query(self, *command: str) -> str:
        user = ["--user", self.server.login.user] if self.server.login.user else []
        words = ["redis-cli", "--no-auth-warning", *user, *command]
        secrets = self._secrets
        answer = docker(*inside(self.server.container, *words, secrets=secrets), secrets=secrets)
        if re.match(r"(WRONGPASS|AUTH failed)", answer):
            restart = f"docker restart {self.server.container} has it read its file"
            raise ScriptError(
                f"Redis answered: {answer.strip()}; if its password changed since it started: {restart}"
            )
        if re.match(r"(ERR|NOAUTH|NOPERM|WRONGPASS|AUTH failed)", answer):
            raise ScriptError(f"Redis answered: {answer.strip()}")
        return answer

    def _contents(self, folder: Path) -> Contents:
        """Keys that Redis' own checker counts in a snapshot. It reads the whole snapshot, checksum included."""
        with scratch.idle(self.server.container) as name:
            _put(name, folder)
            report = docker(*inside(name, "redis-check-rdb", RDB), timeout_s=600)
        keys = re.search(r"\[info\] (\d+) keys read", report)
        if not keys or "RDB looks OK" not in report:
            raise ScriptError(f"redis-check-rdb answered: {' '.join(report.split())[-300:]}")
        return {"keys": int(keys[1])}


def _put(container: str, folder: Path) -> None:
    """Write the snapshot into a scratch container."""
    write = inside(container, "sh", "-c", f"cat >{RDB}")
    with decompressed(folder / DUMP) as file, Process(write, stdin=subprocess.PIPE) as process:
        while data := file.read(CHUNK):
            process.stdin.write(data)  # type: ignore[union-attr]  # it is a pipe

#!/usr/bin/env python3
"""A docker for tests of the host's scripts: containers, what the servers in them say, and logs of its arguments and of
what Postgres was asked.

It reads `engine.json` beside itself. Put as `docker` on a script's PATH.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MARK = "-- answered --"


def main(arguments: list[str]) -> int:
    engine: dict[str, Any] = json.loads((HERE / "engine.json").read_text())
    with (HERE / "arguments").open("a") as log:
        log.write(" ".join(arguments) + "\n")
    containers: dict[str, Any] = engine["containers"]
    match arguments:
        case ["ps", *_]:
            say(*(name for name in containers if containers[name].get("status", "running") != "exited"))
        case ["inspect", "--type", "container", *names]:
            say(json.dumps([account(name, containers[name]) for name in names]))
        case ["exec", *rest]:
            flags = ("--env", "--user")
            while rest[0].startswith("--"):
                rest = rest[2:] if rest[0] in flags else rest[1:]
            # A scratch container says what the one says that it is like.
            return inside(containers[rest[0].removeprefix("restore-test-")], rest[1:])
        case _:
            say("")
    return 0


def account(name: str, container: dict[str, Any]) -> dict[str, Any]:
    return {
        "Id": f"id-of-{container.get('was', name)}",
        "Name": f"/{name}",
        "Image": "sha256:0",
        "HostConfig": {"Memory": 0},
        "RestartCount": container.get("restarts", 0),
        "State": {"Status": container.get("status", "running")},
        "Config": {
            "Env": container.get("env", []),
            "Labels": {
                "com.docker.compose.service": container.get("was", name),
                "com.docker.compose.project.working_dir": "/opt/sourcefast/x",
            },
        },
        "Mounts": [
            {"Destination": at, "Source": source} for at, source in container.get("mounts", {}).items()
        ],
        "NetworkSettings": {"Networks": {"coolify": {"IPAddress": "127.0.0.1"}}},
    }


def inside(container: dict[str, Any], command: list[str]) -> int:
    words = command[4:] if command[:2] == ["sh", "-c"] else command  # sh -c SCRIPT sh PROGRAM …
    database = next((word.partition("=")[2] for word in words if word.startswith("--dbname=")), "")
    match words[0] if words else "":
        case "psql":
            return psql(container, database)
        case "pg_dump":
            dump = container["databases"][database]["dump"]
            sys.stdout.write(dump)
            sys.stdout.flush()
            time.sleep(container.get("slow_s", 0))
            if container.get("dies"):
                sys.stderr.write("server closed the connection unexpectedly")
                return 1
        case "pg_restore":
            if "END" not in sys.stdin.read():
                sys.stderr.write("unexpected end of file")
                return 1
        case "pg_dumpall":
            say("CREATE ROLE postgres;")
        case "cat":
            sys.stdout.write(container.get("files", {}).get(words[1], ""))
        case "redis-cli" if container.get("takes") not in (None, os.environ.get("REDISCLI_AUTH")):
            say("WRONGPASS invalid username-password pair or user is disabled.")
        case "redis-cli":
            for line in sys.stdin:
                say(*container["redis"].get(line.strip(), ["ERR unknown command"]))
    return 0


def psql(container: dict[str, Any], database: str) -> int:
    """Answers by what is asked; line by line, as a transaction is."""
    said = {
        "FROM pg_database WHERE datallowconn": [*container.get("databases", {})],
        "FROM pg_roles": ["postgres"],
        "pg_export_snapshot": ["0001-1"],
        "pg_get_userbyid": [json.dumps({"owner": "postgres", "server": "17"})],
        "pg_database_size": ["1000"],
        "relkind IN": [
            json.dumps([name, rows])
            for name, rows in container.get("databases", {}).get(database, {}).get("rows", {}).items()
        ],
        **container.get("sql", {}),
    }
    asked = ""
    for line in sys.stdin:
        with (HERE / "asked").open("a") as log:
            log.write(line)
        asked += line
        if line.strip() == f"\\echo {MARK}":
            say(*next((answer for words, answer in said.items() if words in asked), []), MARK)
            asked = ""
    say(*next((answer for words, answer in said.items() if words in asked), []))
    return 0


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyError as error:
        sys.exit(f"fake docker: no {error}")

"""What the fake docker of tests of the host's scripts says (fake_docker.sh), and the servers in its containers.

It answers by shell that is written here, as it is started for every command in a container.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from shlex import quote
from typing import Any


def install(folder: Path) -> None:
    """Put it as `docker` into a folder of programs."""
    (folder / "docker").write_text(Path(__file__).with_suffix(".sh").read_text())
    (folder / "docker").chmod(0o755)


def save(engine: dict[str, Any], folder: Path) -> None:
    """Write what it answers: names and accounts in the very words, and a script for each container's programs."""

    def write(name: str, content: str) -> None:  # whole or not at all: a script may run meanwhile
        (folder / f"{name}.new").write_text(content)
        (folder / f"{name}.new").replace(folder / name)

    for old in folder.glob("inside-*"):
        if old.name.removeprefix("inside-") not in engine["containers"]:
            old.unlink()
    for name, container in engine["containers"].items():
        write(f"account-of-{name}", f"{json.dumps(account(name, container))}\n")
        write(f"inside-{name}", inside(container))
    containers = engine["containers"].items()
    running = [name for name, container in containers if container.get("status", "running") != "exited"]
    write("running", "".join(f"{name}\n" for name in running))
    write("all", "".join(f"{name}\n" for name, _ in containers))


def account(name: str, container: dict[str, Any]) -> dict[str, Any]:
    return {
        "Id": f"id-of-{container.get('was', name)}",
        "Name": f"/{name}",
        "Image": "sha256:0",
        "HostConfig": {"Memory": 0},
        "RestartCount": container.get("restarts", 0),
        "State": {"Status": container.get("status", "running"), **container.get("state", {})},
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


def inside(container: dict[str, Any]) -> str:
    """Functions of fake_docker.sh: what the programs in a container do, psql's `answer` and `keys` of Redis."""
    databases: dict[str, Any] = container.get("databases", {})
    row_counts = {
        name: say(json.dumps([table, rows]) for table, rows in database.get("rows", {}).items())
        for name, database in databases.items()
    }
    answers = {
        "FROM pg_database WHERE datallowconn": say(databases),
        "FROM pg_roles": say(["postgres"]),
        "pg_export_snapshot": say(["0001-1"]),
        "pg_get_userbyid": say(['{"owner": "postgres", "server": "17"}']),
        "pg_database_size": say(["1000"]),
        "relkind IN": choice("$database", row_counts),
        **{words: say(lines) for words, lines in container.get("sql", {}).items()},
    }
    dumps = {name: f"printf %s {quote(database['dump'])}" for name, database in databases.items()}
    dumped = ["choose_dump"]
    if seconds := container.get("slow_s"):
        dumped.append(f"exec sleep {seconds}")
    if container.get("dies"):
        dumped.append("echo 'server closed the connection unexpectedly' >&2; exit 1")
    files = {name: f"printf %s {quote(text)}" for name, text in container.get("files", {}).items()}
    keys = {command: say(lines) for command, lines in container.get("redis", {}).items()}
    redis = "redis"
    if (password := container.get("takes")) is not None:
        refusal = say(["WRONGPASS invalid username-password pair or user is disabled."])
        redis = f'if [ "$REDISCLI_AUTH" = {quote(password)} ]; then redis; else {refusal}; fi'
    programs = {
        "psql": "psql",
        "pg_dump": "; ".join(dumped),
        "pg_restore": 'case $(cat) in *END*) ;; *) echo "unexpected end of file" >&2; exit 1 ;; esac',
        "pg_dumpall": say(["CREATE ROLE postgres;"]),
        "cat": choice("$2", files),
        "redis-cli": redis,
    }
    functions = {
        "answer": choice("$query", answers, within=True),
        "choose_dump": choice("$database", dumps, otherwise='echo "no database $database" >&2; exit 1'),
        "keys": choice("$line", keys, otherwise=say(["ERR unknown command"])),
        "inside": choice("$1", programs),
    }
    return "".join(f"{name}() {{\n{body}\n}}\n" for name, body in functions.items())


def choice(word: str, cases: Mapping[str, str], *, within: bool = False, otherwise: str = ":") -> str:
    """What to do for the first case that a word is, or that is within it."""
    around = "*" if within else ""
    lines = [f"{around}{quote(case)}{around}) {commands} ;;" for case, commands in cases.items()]
    return "\n".join([f'case "{word}" in', *lines, f"*) {otherwise} ;;", "esac"])


def say(lines: Iterable[str]) -> str:
    """A command that prints lines."""
    words = [quote(line) for line in lines]
    return " ".join(["printf '%s\\n'", *words]) if words else ":"

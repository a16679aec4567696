"""What the fake docker of tests of the host's scripts says (fake_docker.sh), and the servers in its containers.

It is started for every command in a container: it imports nothing that takes longer than its answer.
"""

from __future__ import annotations

import marshal
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

HERE = os.path.dirname(sys.argv[0])  # noqa: PTH120 - without pathlib
MARK = "-- answered --"


def install(folder: Path) -> None:
    """Put it as `docker` into a folder of programs."""
    from pathlib import Path

    (folder / "docker").write_text(Path(__file__).with_suffix(".sh").read_text())
    (folder / "docker-exec").write_text(
        f"#!{sys.executable} -SE\n"
        f"import sys\nsys.path[0] = {str(Path(__file__).parent)!r}\nimport fake_docker\nfake_docker.main()\n"
    )
    for name in ("docker", "docker-exec"):
        (folder / name).chmod(0o755)


def save(engine: dict[str, Any], folder: Path) -> None:
    """Write what it answers: names and accounts in the very words, and the rest for `main`."""
    import json

    def write(name: str, content: bytes) -> None:  # whole or not at all: a script may run meanwhile
        (folder / f"{name}.new").write_bytes(content)
        (folder / f"{name}.new").replace(folder / name)

    containers: dict[str, Any] = {}
    for name, container in engine["containers"].items():
        write(f"account-of-{name}", f"{json.dumps(account(name, container))}\n".encode())
        row_counts = {
            database: [json.dumps([table, rows]) for table, rows in declared.get("rows", {}).items()]
            for database, declared in container.get("databases", {}).items()
        }
        containers[name] = container | {"row_counts": row_counts}
    running = [name for name in containers if containers[name].get("status", "running") != "exited"]
    write("running", "".join(f"{name}\n" for name in running).encode())
    write("containers", marshal.dumps(containers))


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


def main() -> None:
    with open(f"{HERE}/containers", "rb") as file:  # noqa: PTH123 - without pathlib
        containers: dict[str, Any] = marshal.load(file)  # noqa: S302 - which the test has written
    rest = sys.argv[2:]
    while rest[0].startswith("--"):
        rest = rest[2:] if rest[0] in ("--env", "--user") else rest[1:]
    # A scratch container says what the one says that it is like.
    name = rest[0].removeprefix("restore-test-")
    if name not in containers:
        sys.exit(f"fake docker: no {name}")
    sys.exit(inside(containers[name], rest[1:]))


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
    """Answer by the text of a query; line by line, as in a transaction."""
    answers = {
        "FROM pg_database WHERE datallowconn": [*container.get("databases", {})],
        "FROM pg_roles": ["postgres"],
        "pg_export_snapshot": ["0001-1"],
        "pg_get_userbyid": ['{"owner": "postgres", "server": "17"}'],
        "pg_database_size": ["1000"],
        "relkind IN": container["row_counts"].get(database, []),
        **container.get("sql", {}),
    }
    query = ""
    for line in sys.stdin:
        with open(f"{HERE}/queries", "a") as log:  # noqa: PTH123 - without pathlib
            log.write(line)
        query += line
        if line.strip() == f"\\echo {MARK}":
            say(*next((answer for words, answer in answers.items() if words in query), []), MARK)
            query = ""
    say(*next((answer for words, answer in answers.items() if words in query), []))
    return 0


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

"""Runs pyinfra's command line as a user would, again and again, in a process that has imported it once.

Importing pyinfra takes longer than most of what the tests ask of it. So this program imports it and no more, and forks
for each request on its standard input: a line of JSON with `arguments`, `folder`, `environment` and the `output` file.
The child is as a fresh `pyinfra` would be. The answer is a line with its exit status.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import gevent
from gevent.monkey import get_original
from pyinfra_cli.main import main


def run(request: dict[str, Any]) -> None:
    """Be pyinfra: never returns to the loop that forked."""
    gevent.reinit()
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(old, new)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    # Instead of this program's own folder, what Python would have taken.
    sys.path[:1] = filter(None, request["environment"].get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["pyinfra", *request["arguments"]]
    status: object = 1
    try:
        status = main()
    except SystemExit as end:
        status = end.code
        if isinstance(status, str):
            sys.stderr.write(f"{status}\n")
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


def serve() -> None:
    """One request after the other, until the input ends."""
    fork, waitpid = get_original("os", "fork"), get_original("os", "waitpid")
    for line in sys.stdin:
        child = fork()
        if child == 0:
            run(json.loads(line))
        _, status = waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    assert Path(sys.path[0]) == Path(__file__).parent
    serve()

"""Runs pyinfra's command line as a user would, again and again, in a process that has imported it once.

Importing pyinfra and the project takes longer than most of what the tests ask of them. So this program imports both,
and forks for each request on its standard input: a line of JSON with `arguments`, `folder`, `environment` and the
`output` file. The child is as a fresh `pyinfra` would be in that folder, whether the project is found there or by
PYTHONPATH; if a module is another there than in the checkout, it imports the project anew. The answer is a line with
its exit status.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import gevent
from gevent.monkey import get_original
from pyinfra_cli import inventory
from pyinfra_cli.main import main

CHECKOUT = Path(__file__).resolve().parents[2]


def imported() -> list[ModuleType]:
    """Modules of the project."""
    own = [f"{CHECKOUT}/{name}/" for name in ("blueprint", "operations", "facts", "specs", "phases")]
    modules = [module for module in sys.modules.values() if getattr(module, "__file__", None)]
    return [module for module in modules if str(module.__file__).startswith(tuple(own))]


def moved(value: Any, folder: Path) -> Any:
    """What a path of the checkout is in a copy; anything else as it is."""
    if isinstance(value, Path) and value.is_relative_to(CHECKOUT):
        return folder / value.relative_to(CHECKOUT)
    return value


def move(folder: Path) -> None:
    """Have the modules of the project be those of a copy: their paths lead there."""
    modules = imported()
    places = {
        module.__name__: folder / Path(str(module.__file__)).relative_to(CHECKOUT) for module in modules
    }
    for module in modules:
        place, source = places[module.__name__], Path(str(module.__file__))
        if not place.is_file() or place.read_bytes() != source.read_bytes():
            for name in places:
                del sys.modules[name]
            return
    for module in modules:
        module.__file__ = str(places[module.__name__])
        if hasattr(module, "__path__"):
            module.__path__ = [str(places[module.__name__].parent)]
        for name, value in vars(module).items():
            if isinstance(value, Path):
                setattr(module, name, moved(value, folder))
            elif isinstance(value, FunctionType) and value.__defaults__:
                value.__defaults__ = tuple(moved(default, folder) for default in value.__defaults__)


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
    sys.path[:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if CHECKOUT not in map(Path, (request["folder"], sys.path[0])):
        move(Path(request["folder"]))
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
    sys.path.insert(0, str(CHECKOUT))
    for name in ("phases", "operations.transport"):
        importlib.import_module(name)
    del sys.path[0]
    # For each name of a file of group_data, pyinfra parses the whole file anew.
    inventory._get_imported_names = cache(inventory._get_imported_names)
    gc.freeze()  # no child looks through what it shares
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

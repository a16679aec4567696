"""group_data/ read and checked before pyinfra reads it, because pyinfra answers a mistake there with a traceback.

The files are layers of four kinds: `all` and the roles declare keys, each in one place; a hardware profile declares
`profile`; an environment redeclares what is another there, and names its profile; a host's own data and `--data` come
last.
"""

from __future__ import annotations

import ast
import runpy
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from blueprint import yaml_files
from blueprint.host import Blueprint
from blueprint.keys import KEYS, checked, plain_keys, unknown_keys, wrong_types
from blueprint.model import Project
from blueprint.model.declaration import reading_on
from blueprint.problems import DeclarationError, Violation, closest
from blueprint.validation import shown

FOLDER = Path(__file__).resolve().parent.parent / "group_data"
ENVIRONMENTS = ("lab", "production")
# Keys that only an environment declares.
_OF_ENVIRONMENTS = frozenset({"hardware_profile"})
_OF_PROFILES = frozenset({"profile"})


@dataclass(frozen=True)
class Layer:
    """Keys and values from one place.

    :param name: inventory group
    :param file: for messages, "group_data/gpu.py"
    """

    name: str
    file: str
    data: Mapping[str, Any]


NOTHING = Layer("", "", {})


@dataclass(frozen=True)
class GroupData:
    """All of group_data/, every file of which has been read."""

    layers: Mapping[str, Layer]

    @property
    def roles(self) -> tuple[str, ...]:
        """Groups that say what a host is for."""
        return tuple(
            name for name in self.layers if name not in ("all", *ENVIRONMENTS) and name not in self.profiles
        )

    @property
    def profiles(self) -> tuple[str, ...]:
        """Groups that say what a host is made of."""
        return tuple(name for name, layer in self.layers.items() if "profile" in layer.data)

    def blueprint(self, environment: str, host: Layer = NOTHING, command_line: Layer = NOTHING) -> Blueprint:
        """What is declared for one host.

        :param environment: "lab" or "production"
        :param host: its own data
        :param command_line: what `--data` gives
        :raises DeclarationError: with all problems
        """
        chosen: dict[str, Any] = {}
        sources: dict[str, str] = {}
        if missing := {"all", environment} - self.layers.keys():
            files = [f"group_data/{name}.py" for name in sorted(missing)]
            raise DeclarationError(
                [Violation(file, "the file", "missing", "there", f"git restore {file}") for file in files]
            )

        def take(layer: Layer) -> None:
            chosen.update(layer.data)
            sources.update(dict.fromkeys(layer.data, layer.file))

        for name in ("all", *self.roles, environment):
            take(self.layers[name])
        take(host)
        take(command_line)
        profile = chosen.get("hardware_profile")
        if profile not in self.profiles:
            allowed = f"one of {', '.join(self.profiles) or 'those in group_data/, where none is'}"
            file = sources.get("hardware_profile", f"group_data/{environment}.py")
            hint = closest(str(profile), self.profiles)
            raise DeclarationError([Violation(file, "hardware_profile", shown(profile), allowed, hint)])
        upgrade = chosen.get("upgrade_to", "")
        if upgrade not in ("", *self.profiles):
            allowed = f'one of {", ".join(self.profiles)}, or ""'
            file = sources["upgrade_to"]
            hint = closest(str(upgrade), self.profiles)
            raise DeclarationError([Violation(file, "upgrade_to", shown(upgrade), allowed, hint)])
        take(self.layers[profile])
        return checked(chosen, sources)


def read(folder: Path | None = None) -> GroupData:
    """Read all files.

    :param folder: another one than group_data/, such as the unit tests'
    :raises DeclarationError: with the problems of all files
    """
    layers: dict[str, Layer] = {}
    problems: list[Violation] = []
    for path in sorted((folder or FOLDER).glob("*.py")):
        try:
            layer = _read_file(path)
        except DeclarationError as error:
            problems += error.problems
        else:
            layers[layer.name] = layer
    if problems:  # of a file that another imports, twice
        raise DeclarationError(list(dict.fromkeys(problems)))
    problems = list(_wrong_places(GroupData(layers)))
    if problems:
        raise DeclarationError(problems)
    return GroupData(layers)


def validate_overrides(data: Mapping[str, Any], file: str, prefix: str = "") -> list[Violation]:
    """What is wrong with data from production.yaml or the command line, where only plain values can be written.

    :param file: where the data is from, for messages
    :param prefix: what stands before its keys there
    """
    problems: list[Violation] = []
    allowed = plain_keys()
    for key, value in data.items():
        if key in allowed:
            problems += wrong_types(key, value, file, prefix)
        elif key in KEYS:
            problems.append(
                Violation(
                    file,
                    prefix + key,
                    "set here",
                    "changed in group_data/, because it is a declaration",
                    f"here can be {', '.join(allowed)}",
                )
            )
        else:
            expected = f"one of {', '.join(allowed)}"
            problems.append(
                Violation(file, prefix + str(key), "not a known key", expected, closest(str(key), allowed))
            )
    return problems


def _read_file(path: Path) -> Layer:
    file = f"group_data/{path.name}"
    problems: list[Violation] = []
    try:
        text = yaml_files.read(path, file).decode()  # pyinfra reads UTF-8, too
        body = ast.parse(text, filename=str(path)).body
        with reading_on(partial(_take, problems, path)):
            values = runpy.run_path(str(path))
    except DeclarationError as error:
        raise DeclarationError([*problems, *error.in_file(_place(error, path)[0]).problems]) from None
    except (Exception, SystemExit) as error:
        place, line = _place(error, path)
        if problems:
            found, expected = "not read, nor what follows it", "read once the problems before it are gone"
            raise DeclarationError([*problems, Violation(place, f"line {line}", found, expected)]) from None
        found = f"refused ({type(error).__name__}: {str(error)[:200]})"
        expected = "a declaration as blueprint/model/ documents it"
        if isinstance(error, SyntaxError):
            found, expected = f"no Python ({error.msg})", "Python"
        raise DeclarationError([Violation(place, f"line {line}", found, expected)]) from None
    if problems:
        raise DeclarationError(problems)
    imports = (node.names for node in body if isinstance(node, ast.Import | ast.ImportFrom))
    imported = {alias.asname or alias.name for names in imports for alias in names}
    # What pyinfra makes data of.
    data = {key: values[key] for key in values if not key.startswith("_") and key not in imported}
    annotated = (node.target for node in body if isinstance(node, ast.AnnAssign))
    names = [target.id for target in annotated if isinstance(target, ast.Name) and target.id not in values]
    if names:
        found, expected = "an annotation without a value", "a key with its value"
        raise DeclarationError([Violation(file, name, found, expected) for name in names])
    return Layer(path.stem, file, data)


def _take(problems: list[Violation], path: Path, error: Exception) -> bool:
    """Note what is wrong with a declaration of this file. One of a file that it imports ends that import."""
    if not isinstance(error, DeclarationError):
        return bool(problems)
    files = (Path(frame.filename) for frame in reversed(traceback.extract_stack()))
    if next((file for file in files if file.parent == path.parent), path) != path:
        return False
    problems += error.in_file(f"group_data/{path.name}").problems
    return True


def _place(error: BaseException, path: Path) -> tuple[str, int]:
    """File and line of an error: in a group's file or in one that it imports, not in what these call."""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((Path(error.filename), error.lineno))
    own = [(place, line) for place, line in frames if place.parent == path.parent]
    place, line = own[-1] if own else (path, 1)
    return f"group_data/{place.name}", line or 1


def _wrong_places(group_data: GroupData) -> Iterator[Violation]:
    """Keys that nothing reads, or that would override another group's without anyone having meant it."""
    roles = ("all", *group_data.roles)
    home: dict[str, Layer] = {}
    for layer in group_data.layers.values():
        yield from unknown_keys(layer.data, dict.fromkeys(layer.data, layer.file))
    for layer in (group_data.layers[name] for name in roles if name in group_data.layers):
        for key, value in layer.data.items():
            if isinstance(value, Project) and key != layer.name:
                yield Violation(layer.file, key, "a project", f"in a file of its own, group_data/{key}.py")
            if key in home:
                yield Violation(
                    layer.file,
                    key,
                    f"declared in {home[key].file} too",
                    "declared in one of them",
                    f"only {' and '.join(ENVIRONMENTS)} may redeclare a key",
                )
            home.setdefault(key, layer)
            if key in _OF_ENVIRONMENTS:
                yield Violation(layer.file, key, "declared here", f"declared in {' and '.join(ENVIRONMENTS)}")
    for layer in (group_data.layers[name] for name in group_data.profiles):
        for key in layer.data.keys() - _OF_PROFILES:
            yield Violation(layer.file, key, "declared in a hardware profile", "in another group", "move it")
        if problems := wrong_types("profile", layer.data["profile"], layer.file):
            yield from problems
        elif layer.name != (name := layer.data["profile"].name):
            yield Violation(layer.file, "profile.name", repr(name), f"{layer.name!r}, as the file")

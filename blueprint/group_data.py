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
from pathlib import Path
from typing import Any

from blueprint.host import Blueprint
from blueprint.keys import KEYS, checked, plain_keys, unknown_keys, wrong_type
from blueprint.model import Project
from blueprint.problems import DeclarationError, Problem, closest

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

        def take(layer: Layer) -> None:
            chosen.update(layer.data)
            sources.update(dict.fromkeys(layer.data, layer.file))

        for name in ("all", *self.roles, environment):
            take(self.layers[name])
        take(host)
        take(command_line)
        profile = chosen.get("hardware_profile")
        if profile not in self.profiles:
            allowed = f"one of {', '.join(self.profiles)}"
            file = sources.get("hardware_profile", f"group_data/{environment}.py")
            hint = closest(str(profile), self.profiles)
            raise DeclarationError([Problem(file, "hardware_profile", repr(profile), allowed, hint)])
        upgrade = chosen.get("upgrade_to", "")
        if upgrade not in ("", *self.profiles):
            allowed = f'one of {", ".join(self.profiles)}, or ""'
            file = sources["upgrade_to"]
            hint = closest(str(upgrade), self.profiles)
            raise DeclarationError([Problem(file, "upgrade_to", repr(upgrade), allowed, hint)])
        take(self.layers[profile])
        return checked(chosen, sources)


def read(folder: Path | None = None) -> GroupData:
    """Read all files.

    :param folder: another one than group_data/, such as the unit tests'
    :raises DeclarationError: with the problems of all files
    """
    layers: dict[str, Layer] = {}
    problems: list[Problem] = []
    for path in sorted((folder or FOLDER).glob("*.py")):
        try:
            layer = _read_file(path)
        except DeclarationError as error:
            problems += error.problems
        else:
            layers[layer.name] = layer
    if problems:
        raise DeclarationError(problems)
    problems = list(_wrong_places(GroupData(layers)))
    if problems:
        raise DeclarationError(problems)
    return GroupData(layers)


def validate_overrides(data: Mapping[str, Any], file: str, prefix: str = "") -> list[Problem]:
    """What is wrong with data from production.yaml or the command line, where only plain values can be written.

    :param file: where the data is from, for messages
    :param prefix: what stands before its keys there
    """
    problems: list[Problem] = []
    allowed = plain_keys()
    for key, value in data.items():
        if key in allowed:
            problem = wrong_type(key, value, file)
            if problem:
                problems.append(Problem(file, prefix + key, problem.found, problem.expected))
        elif key in KEYS:
            problems.append(
                Problem(
                    file,
                    prefix + key,
                    "given here",
                    "changed in group_data/, because it is a declaration",
                    f"here can be {', '.join(allowed)}",
                )
            )
        else:
            expected = f"one of {', '.join(allowed)}"
            problems.append(
                Problem(file, prefix + str(key), "not a known key", expected, closest(str(key), allowed))
            )
    return problems


def _read_file(path: Path) -> Layer:
    file = f"group_data/{path.name}"
    try:
        assigned = _assigned(path)
        values = runpy.run_path(str(path))
    except DeclarationError as error:
        raise error.in_file(file) from None
    except SyntaxError as error:
        problem = Problem(file, f"line {error.lineno}", f"no Python ({error.msg})", "Python")
        raise DeclarationError([problem]) from None
    except Exception as error:
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
        ]
        found = f"refused ({type(error).__name__}: {error})"
        expected = "a declaration as blueprint/model/ documents it"
        raise DeclarationError(
            [Problem(file, f"line {lines[-1] if lines else 1}", found, expected)]
        ) from None
    return Layer(path.stem, file, {name: values[name] for name in assigned})


def _assigned(path: Path) -> list[str]:
    """Names that a file assigns, without imports and _private ones: what pyinfra makes data of."""
    targets: list[ast.expr] = []
    for node in ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    return [target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")]


def _wrong_places(group_data: GroupData) -> Iterator[Problem]:
    """Keys that nothing reads, or that would override another group's without anyone having meant it."""
    roles = ("all", *group_data.roles)
    home: dict[str, Layer] = {}
    for layer in group_data.layers.values():
        yield from unknown_keys(layer.data, dict.fromkeys(layer.data, layer.file))
    for layer in (group_data.layers[name] for name in roles if name in group_data.layers):
        for key, value in layer.data.items():
            if isinstance(value, Project) and key != layer.name:
                yield Problem(layer.file, key, "a project", f"in a file of its own, group_data/{key}.py")
            if key in home:
                yield Problem(
                    layer.file,
                    key,
                    f"declared in {home[key].file} too",
                    "declared in one of them",
                    f"only {' and '.join(ENVIRONMENTS)} may redeclare a key",
                )
            home.setdefault(key, layer)
            if key in _OF_ENVIRONMENTS:
                yield Problem(layer.file, key, "declared here", f"declared in {' and '.join(ENVIRONMENTS)}")
    for layer in (group_data.layers[name] for name in group_data.profiles):
        for key in layer.data.keys() - _OF_PROFILES:
            yield Problem(layer.file, key, "declared in a hardware profile", "in another group", "move it")
        if layer.name != layer.data["profile"].name:
            name = layer.data["profile"].name
            yield Problem(layer.file, "profile.name", repr(name), f"{layer.name!r}, as the file")

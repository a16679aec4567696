"""The host that is checked: what it answers, each question asked once for all checks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from shlex import join
from typing import Any, TypeVar

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase
from testinfra.host import Host

from blueprint import Blueprint
from blueprint.applied import Applied
from checks.expect import fail
from facts.folder import Names
from facts.gpu import Gpus
from operations.transport import BEGIN, after_start_up, prefixed
from phases.cards import full_uuids
from phases.record import folder
from specs.problems import Problem

T = TypeVar("T")

PROBES = Path(__file__).resolve().parent / "probes"
# What is on its way is asked again, for so long in all checks together: a container that starts, a new monitor.
PATIENCE_S, ASKED_AGAIN_S = 60, 3


def _text(printed: bytes) -> str:
    """What a host has printed, whatever its start-up files have."""
    return printed.decode(errors="replace")


@dataclass
class Server:
    """A host, asked over testinfra's connection.

    :param host: testinfra's
    :param blueprint: what is declared for it
    """

    host: Host
    blueprint: Blueprint
    _answers: dict[object, Any] = field(default_factory=dict, repr=False)
    _patience_s: float = PATIENCE_S

    def __post_init__(self) -> None:
        # testinfra would ask the host for it, and take what start-up files print for the answer.
        self.host.backend._encoding = "utf-8"

    def run(self, command: str) -> str:
        """Output of a command, run by sh as root. One that fails ends the check with its reason."""
        try:
            done = self.host.run(prefixed(command))
        except RuntimeError as error:
            reason = _text(error.args[0].stderr_bytes).strip()
            fail([Problem("the host", reason, "an SSH session", "try `ssh` with the same configuration")])
        printed = [_text(done.stdout_bytes), _text(done.stderr_bytes)]
        if BEGIN not in printed[0]:
            expected = "a login that runs commands, with sudo without a password if it is not root's"
            fail([Problem("the host", printed[1].strip(), expected, "log in, and try `sudo -n true`")])
        output, errors = ("".join(after_start_up(iter(text.splitlines(keepends=True)))) for text in printed)
        if done.rc != 0:
            reason = (errors or output).strip()[-600:] or "no output"
            fail(
                [Problem(command[:60], f"{reason}\nexit status {done.rc}", "an answer", "run it on the host")]
            )
        return output

    def fact(self, fact: type[FactBase[T]], **arguments: Any) -> T:
        """Answer of a fact, which changes nothing on a host."""
        return self._once((fact, repr(arguments)), lambda: self._fact(fact, arguments))

    def _fact(self, fact: type[FactBase[T]], arguments: dict[str, Any]) -> T:
        question = fact()
        output = self.run(StringCommand(question.command(**arguments)).get_raw_value()).splitlines()
        return question.process(output) if output else question.default()

    def probe(self, name: str, question: object = None, inside: str = "") -> Any:
        """What a program of `probes/` prints, as JSON.

        :param question: its argument, as JSON; never a secret
        :param inside: container in which it runs, or none
        """
        interpreter = ["node", "-e"] if name.endswith(".js") else ["python3", "-c"]
        command = [*interpreter, (PROBES / name).read_text(), json.dumps(question)]
        if inside:
            command = ["docker", "exec", inside, *command]
        return self._once((name, inside, command[-1]), lambda: json.loads(self.run(join(command))))

    def settled(self, question: Callable[[], T], lacks: Callable[[T], object]) -> T:
        """The answer to a question, asked again for some time while it lacks something that may be on its way."""
        while lacks(answer := question()) and self._patience_s > 0:
            began = time.monotonic()
            time.sleep(ASKED_AGAIN_S)
            self._answers.clear()
            answer = question()
            self._patience_s -= time.monotonic() - began
        return answer

    def _once(self, key: object, question: Callable[[], T]) -> T:
        if key not in self._answers:
            self._answers[key] = question()
        answer: T = self._answers[key]
        return answer

    @cached_property
    def phases(self) -> frozenset[str]:
        """Names of the phases that it has."""
        names: list[str] = self.fact(Names, folder=folder(self.blueprint))
        return frozenset(names)

    @cached_property
    def applied(self) -> Applied:
        """What is declared for these phases."""
        return Applied(self.blueprint, self.phases)

    @property
    def uuids(self) -> dict[str, str]:
        """Full UUID of each declared card, by the declared one."""
        return full_uuids(self.blueprint, self.fact(Gpus))

"""The settings of a host's sshd, who has made them, and whether a key opens it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script

# Older names of keywords (sshd_config(5)).
ALIASES = {"challengeresponseauthentication": "kbdinteractiveauthentication"}


@dataclass(frozen=True)
class SshdLine:
    """A setting that is somewhere in the configuration.

    :param place: file and line, "/etc/ssh/sshd_config.d/50-cloud-init.conf:1"
    :param keyword: in lower case, as sshd names it
    :param value: as it stands there
    :param match: for whom, the line that says so; None for everybody
    """

    place: str
    keyword: str
    value: str
    match: str | None = None


@dataclass(frozen=True)
class SshdState:
    """Answer of `Sshd`.

    :param installed: there is an sshd
    :param effective: value of each keyword for everybody, as sshd says; empty where there is none, or it refuses its
        configuration
    :param lines: what somebody has set beside the distribution, in the order in which sshd reads it
    :param ours: text of our file, None where there is none
    :param trial: that file is about to be undone
    :param keys: the user of the session may log in with a key
    """

    installed: bool = False
    effective: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[SshdLine, ...] = ()
    ours: str | None = None
    trial: bool = False
    keys: bool = False


class Sshd(FactBase[SshdState]):
    """Settings of sshd, ours or not, in one question.

    :param path: our own file of settings
    """

    def command(self, path: str) -> StringCommand:
        """The script and its arguments."""
        return script.command("sshd.sh", path)

    @staticmethod
    def default() -> SshdState:
        """No sshd."""
        return SshdState()

    def process(self, output: list[str]) -> SshdState:
        """Read the answer of `command`."""
        return read_sshd(output)


def read_sshd(output: Iterable[str]) -> SshdState:
    """Read what files/facts/sshd.sh prints."""
    answers = dict(script.sections(output))
    distribution = {_setting(line) for line in answers.get("default", ())}
    return SshdState(
        installed="effective" in answers,
        effective=dict(_setting(line) for line in answers.get("effective", ()) if line),
        lines=tuple(
            line
            for line in _lines(answers.get("files", ()))
            # As the distribution has it: nobody's own, in its own file.
            if not (
                line.place.startswith("/etc/ssh/sshd_config:") and (line.keyword, line.value) in distribution
            )
        ),
        ours="\n".join(answers["ours"]) + "\n" if "ours" in answers else None,
        trial="yes" in answers.get("trial", ()),
        keys="yes" in answers.get("keys", ()),
    )


def _lines(answer: Iterable[str]) -> Iterator[SshdLine]:
    file, match = "", None
    for line in answer:
        path, number, text = line.split(":", 2)
        if path != file:
            file, match = path, None  # what is matched ends with its file
        keyword, value = _setting(text)
        if keyword == "match":
            match = None if value.lower() == "all" else text.strip()
        elif keyword != "include":
            yield SshdLine(f"{path}:{number}", keyword, value, match)


def _setting(line: str) -> tuple[str, str]:
    """Keyword and value of `Keyword value`, `Keyword=value` or `Keyword "value" # why`."""
    keyword, _, value = re.sub(r"[\s=]+", " ", line.strip(), count=1).partition(" ")
    keyword = keyword.lower()
    return ALIASES.get(keyword, keyword), value.partition(" #")[0].strip().strip('"')

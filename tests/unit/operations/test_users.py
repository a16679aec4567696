from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from pyinfra.api.exceptions import OperationValueError

from facts.users import Account, AccountState
from operations import users
from tests.unit.hosts import commands

HOME = "/usr/share/ollama"
CURRENT = AccountState(
    True, HOME, "/usr/sbin/nologin", frozenset({"ollama", "render"}), frozenset({"ollama", "render"})
)


def test_reads_what_the_name_services_say() -> None:
    output = [
        "passwd:ollama:x:998:998::/usr/share/ollama:/usr/sbin/nologin",
        "member:ollama render video",
        "group:ollama:x:998:",
        "group:render:x:105:ollama",
    ]
    expected = replace(CURRENT, groups=frozenset({"ollama", "render", "video"}))
    assert Account().process(output) == expected


def test_asks_this_machine() -> None:
    command = Account().command("root", ["root", "no-such-group"]).get_raw_value()
    answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout
    state = Account().process(answer.splitlines())
    assert (
        state.exists and state.home == "/root" and state.known_groups == {"root"} and "root" in state.groups
    )


CASES: list[tuple[str, AccountState, list[str]]] = [
    ("as declared", CURRENT, []),
    ("in more groups", replace(CURRENT, groups=CURRENT.groups | {"video"}), []),
    (
        "missing",
        AccountState(known_groups=frozenset({"render"})),
        [
            "useradd --system --user-group --groups render --home-dir /usr/share/ollama --no-create-home "
            "--shell /usr/sbin/nologin ollama"
        ],
    ),
    (
        "missing, its group is there",
        AccountState(known_groups=frozenset({"ollama", "render"})),
        [
            "useradd --system --gid ollama --groups render --home-dir /usr/share/ollama --no-create-home "
            "--shell /usr/sbin/nologin ollama"
        ],
    ),
    ("not in a group", replace(CURRENT, groups=frozenset()), ["usermod --append --groups render ollama"]),
    (
        "no such group",
        replace(CURRENT, known_groups=frozenset(), groups=frozenset()),
        ["groupadd --system render", "usermod --append --groups render ollama"],
    ),
    ("another home", replace(CURRENT, home="/"), ["usermod --home /usr/share/ollama ollama"]),
    (
        "another shell",
        AccountState(True, HOME, "/bin/sh", CURRENT.groups, CURRENT.known_groups),
        ["usermod --shell /usr/sbin/nologin ollama"],
    ),
]


@pytest.mark.parametrize(("found", "lines"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_difference(found: AccountState, lines: list[str]) -> None:
    yielded = commands(users.system_user, {Account: found}, user="ollama", home=HOME, groups=["render"])
    assert [command.get_raw_value() for command in yielded] == lines


def test_a_name_is_no_option() -> None:
    with pytest.raises(OperationValueError):
        commands(users.system_user, {Account: CURRENT}, user="-f", home=HOME)

"""Monitors of an Uptime Kuma. Declared ones are kept as declared, those that a person has made are left alone.

Its only API is a socket that wants a login. It is spoken to from a container beside it (files/uptime-kuma/client.js),
so no port has to be open, and the login travels on standard input. Which monitors are ours is written in their
description, where a person who looks at one can read it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.context import state as run

from facts.cache import cached_fact
from facts.uptime_kuma import PROGRAM, STATUS, Kuma, KumaState, MonitorState, NotificationState, login
from operations import script
from operations.checks import check, polling
from specs.problems import Problem
from specs.uptime_kuma import KumaMonitor, PushCheck, TelegramNotification

OWNER = re.compile(r"[a-z0-9][a-z0-9_./-]*")
_DECLARED = re.compile(r"Declared by (\S+): ")
_SECRET = frozenset({"pushToken", "databaseConnectionString", "telegramBotToken", "telegramChatID"})
_UP = 1
# A monitor that is down is tried again after an interval of 60 s, and the try may take most of another.
_TRIED_AGAIN_S = 110


@dataclass(frozen=True)
class Action:
    """One step of files/uptime-kuma/client.js.

    :param kind: notification, add, edit, resume or delete
    :param name: of what, for people
    :param id: of what is there already
    :param settings: in clear
    """

    kind: str
    name: str
    id: int | None = None
    settings: dict[str, Any] = field(default_factory=dict, repr=False)


def owner_of(monitor: MonitorState) -> str | None:
    """The owner of a declared monitor, by its description; None for one that a person has made."""
    match = _DECLARED.match(monitor.description)
    return match[1] if match else None


def difference(
    actual: KumaState, owner: str, monitors: Sequence[KumaMonitor], telegram: TelegramNotification | None
) -> list[Action]:
    """The steps; none where everything of `owner` is as declared."""
    notification = next(
        (each for each in actual.notifications if telegram and each.name == telegram.name), None
    )
    actions = []
    if telegram and not (notification and notification.active and _same(telegram.settings(), notification)):
        actions.append(
            Action(
                "notification", telegram.name, notification.id if notification else None, telegram.settings()
            )
        )
    ours: dict[str, MonitorState] = {}
    for monitor in sorted(actual.monitors, key=lambda each: each.id):
        if owner_of(monitor) == owner:
            if monitor.name in ours:
                actions.append(Action("delete", monitor.name, monitor.id))
            ours.setdefault(monitor.name, monitor)
    for desired in monitors:
        existing = ours.pop(desired.name, None)
        settings = desired.settings(owner)
        if existing is None:
            actions.append(Action("add", desired.name, settings=settings))
            continue
        notifies = telegram is None or (
            notification is not None and notification.id in existing.notifications
        )
        if not (notifies and _same(settings, existing)):
            actions.append(Action("edit", desired.name, existing.id, settings))
        if not existing.active:
            actions.append(Action("resume", desired.name, existing.id))
    actions += [Action("delete", monitor.name, monitor.id) for monitor in ours.values()]
    return actions


def _same(settings: dict[str, Any], actual: MonitorState | NotificationState) -> bool:
    current = {"name": actual.name, **actual.settings}
    if isinstance(actual, MonitorState):
        current["description"] = actual.description
    return all(current.get(key) == _shown(key, value) for key, value in settings.items())


def _shown(key: str, value: object) -> object:
    """A setting as the fact shows it."""
    return hashlib.sha256(str(value).encode()).hexdigest() if key in _SECRET else value


def payload(username: str, password: str, actions: Iterable[Action], notification: int | None) -> str:
    """The actions in the form that files/uptime-kuma/client.js reads.

    :param notification: id of the one that monitors use, where it is there already
    """
    steps = [{"action": each.kind, "id": each.id, "settings": each.settings} for each in actions]
    return json.dumps(
        {"username": username, "password": password, "actions": steps, "notification": notification}
    )


@operation()
def monitors(
    container: str,
    username: str,
    password: str,
    owner: str,
    monitors: Sequence[KumaMonitor],
    telegram: TelegramNotification | None = None,
) -> Generator[StringCommand, None, None]:
    """Apply the declared monitors of one owner; an Uptime Kuma that is new gets its administrator first.

    What `owner` declared before and declares no more is deleted. Other owners' monitors and those that a person made
    are not touched; a person who empties a monitor's description takes it over. After a change, the monitors get the
    time for their first heartbeat.

    Raises `OperationError` when Uptime Kuma has another password than this one.

    + container: in which it runs, listening on 3001
    + username: of its administrator
    + password: likewise
    + owner: who declares these monitors, "platform/monitoring"
    + monitors: all of them
    + telegram: where their state is reported; None leaves notifications alone
    """
    _refuse_nonsense(owner, monitors)
    actual = _read_state(container, username, password)
    if actual.refused is not None:
        raise OperationError(
            f"Uptime Kuma in {container}: found that it refuses the login of {username} ({actual.refused}); expected "
            f"the password of the secrets and no second factor. Give it that password: "
            f"docker exec -it --user USER {container} npm run reset-password (npm run remove-2fa for the second "
            "factor), as the user to whom its data belongs"
        )
    actions = difference(actual, owner, monitors, telegram)
    if not actions and not actual.setup and not actual.absent:
        host.noop(f"{len(monitors)} monitors of {owner} as declared")
        return
    notification = next(
        (each.id for each in actual.notifications if telegram and each.name == telegram.name), None
    )
    yield script.run(
        "uptime-kuma/apply.sh",
        container,
        PROGRAM.read_text(),
        payload=payload(username, password, actions, notification),
        stream=True,
    )


def _refuse_nonsense(owner: str, monitors: Iterable[KumaMonitor]) -> None:
    if not OWNER.fullmatch(owner):
        raise OperationValueError(f"owner {owner!r}: expected lower-case letters, digits and _./-")
    for name, count in Counter(monitor.name for monitor in monitors).items():
        if count > 1:
            raise OperationValueError(f"monitor {name!r} of {owner} is declared {count} times")
    for monitor in monitors:
        # Uptime Kuma's own limits (MIN_INTERVAL_SECOND, MAX_INTERVAL_SECOND).
        if not 20 <= monitor.interval_s <= 24 * 24 * 3600:
            raise OperationValueError(
                f"monitor {monitor.name!r}: interval_s {monitor.interval_s}: expected 20 seconds to 24 days"
            )
        if isinstance(monitor.check, PushCheck) and not re.fullmatch(
            r"[\w-]{16,32}", monitor.check.token, re.ASCII
        ):
            raise OperationValueError(
                f"monitor {monitor.name!r}: its token is not 16 to 32 letters, digits, - and _"
            )


def _read_state(container: str, username: str, password: str) -> KumaState:
    state: KumaState = cached_fact(Kuma, **_question(container, username, password))
    return state


def _question(container: str, username: str, password: str) -> dict[str, Any]:
    # A run that is being prepared may be the one that brings it back.
    return {
        "container": container,
        "required": run.is_executing,
        "_stdin": [login(username, password)],
    }


def not_up(actual: KumaState) -> Iterator[Problem]:
    """The problems of `all_up`."""
    if actual.absent or actual.setup or actual.refused is not None:
        reason = actual.refused or ("no container" if actual.absent else "no administrator yet")
        yield Problem(
            "Uptime Kuma", reason, "an Uptime Kuma that can be asked", "run the phase that brings it"
        )
        return
    for monitor in _not_up(actual):
        state = STATUS[monitor.status] if monitor.active else "paused"
        yield Problem(
            f"monitor {monitor.name}",
            f"{state}: {monitor.message}" if monitor.message and monitor.active else state,
            "up",
            "docker logs of what it asks, if that is a container; Uptime Kuma's page has the monitor's history",
        )


def _not_up(actual: KumaState) -> list[MonitorState]:
    return [
        monitor
        for monitor in actual.monitors
        if owner_of(monitor) is not None
        and monitor.settings.get("type") != "push"
        and not (monitor.active and monitor.status == _UP)
    ]


@check
@polling(_TRIED_AGAIN_S, every_s=10)  # a question is a container of its own
def all_up(container: str, username: str, password: str) -> Iterable[Problem]:
    """Every declared monitor is up. Those that a person has added do not matter.

    One that is down may have been tried while a container was made anew: its next try is waited for. Push monitors are
    left out: the end of a job's last run does not concern a deploy, which cannot repair it.

    + container: in which Uptime Kuma runs
    + username, password: of its administrator
    """
    return not_up(_read_state(container, username, password))


def right_problems(actual: KumaState, username: str, container: str) -> Iterator[Problem]:
    """A problem where it has more than one administrator, or needs no login.

    :param username: the administrator's
    :param container: in which it runs
    """
    if actual.logins is None:
        return
    if actual.logins.open:
        yield Problem(
            "Uptime Kuma",
            "open to everybody who finds its page",
            "a login",
            "Settings, Security, Enable Auth",
        )
    # While it is new it has none; the name of its one administrator a person may have changed.
    others = sorted(name for name in actual.logins.users if name != username)
    if len(actual.logins.users) > 1:
        yield Problem(
            f"Uptime Kuma: {', '.join(others)}",
            f"{len(actual.logins.users)} users, each of which may do everything",
            f"one administrator, {username}",
            f"its page knows only one: delete the others from the table `user` of /app/data/kuma.db in {container}",
        )


def stray_sentences(actual: KumaState) -> Iterator[str]:
    """A sentence for its API keys, which read its metrics and are never declared."""
    if actual.logins is None:
        if not actual.absent and not actual.setup:
            yield "Uptime Kuma: its database cannot be read, so that nobody knows who may log in"
    elif actual.logins.api_keys:
        names = ", ".join(actual.logins.api_keys)
        yield f"API keys in Uptime Kuma that are not declared: {names}; they read its metrics until they are deleted"

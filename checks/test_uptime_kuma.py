"""Uptime Kuma: the declared monitors, their state, and who may log in (requirements 10)."""

from __future__ import annotations

from typing import Any

import pytest

from blueprint.model import Monitor
from blueprint.names import KUMA
from checks.expect import expect
from checks.server import Server
from facts.uptime_kuma import STATUS
from phases.rights import ADMIN

pytestmark = pytest.mark.monitoring

AGAIN = "run the deploy again: it registers the monitors"
# A monitor that is down or was just added is asked again by Kuma after an interval of a minute.
UNDECIDED = (None, 2)


def kuma(server: Server) -> Any:
    """Everything in its database."""
    return server.probe("kuma.js", inside=KUMA)


def of(server: Server, name: str) -> dict[str, Any]:
    """A monitor by its name, "missing" without one."""
    found = [one for one in kuma(server)["monitors"] if one["name"] == name]
    return dict(found[0]) if found else {}


@pytest.mark.monitoring
def test_monitor_is_up(server: Server, monitor: Monitor) -> None:
    """The monitor is active and its last answer was good; one of a job has its job's last end."""
    found = server.settled(lambda: of(server, monitor.name), lambda one: one.get("status") in UNDECIDED)
    state = STATUS[found.get("status")] if found else "missing"
    if state != "up":
        state += f": {found.get('message') or 'without a message'}"
    expect(f"monitor {monitor.name}", state, "up", f"docker logs {KUMA}; what does it monitor?")


@pytest.mark.monitoring
def test_monitor_asks_what_is_declared(server: Server, monitor: Monitor) -> None:
    """It asks the declared address as often as declared, and tells somebody."""
    found = of(server, monitor.name)
    if monitor.url is not None:
        target = found.get("url")
        expected: object = monitor.url
    elif monitor.tcp is not None:
        target, expected = f"{found.get('hostname')}:{found.get('port')}", monitor.tcp
    else:
        target = expected = found.get("type")
    state = (bool(found.get("active")), target, found.get("interval"), bool(found.get("notifications")))
    expect(f"monitor {monitor.name}", state, (True, expected, monitor.interval_s, True), AGAIN)


def test_only_one_person_may_log_in(server: Server) -> None:
    """Kuma has the declared administrator alone, and asks everybody for a login."""
    answer = kuma(server)
    found = (sorted(one["name"] for one in answer["users"]), len(answer["open"]))
    expect("users, logins disabled", found, ([ADMIN], 0), "remove the others on its page")


def test_the_owner_is_notified(server: Server) -> None:
    """There is an active way to notify the owner."""
    expect("notifications", bool(kuma(server)["notifications"]), True, AGAIN)

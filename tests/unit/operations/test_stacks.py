"""Stacks: what the fact's script answered on a real host, what follows from a difference, and what is refused."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyinfra.api.exceptions import OperationError

from facts.backups import Backups
from facts.environment_files import Variables
from facts.files import Contents, FileState, TreeState
from facts.script import SCRIPTS
from facts.stacks import Container, Image, Stacks, StacksState, normalized_reference, read_stacks
from operations import stacks
from operations.backup import Saving
from operations.checks import ASKED_AGAIN_S
from operations.environment_files import variables
from operations.script import FILES
from operations.stack_difference import RELOADED, Undeclared, difference, managed, undeclared
from operations.stacks import SETTLED_S
from specs.files import Directory, File
from specs.stacks import Build, ComposeStack, Outline
from tests.unit.bench import Bench
from tests.unit.hosts import InTurn, commands, scripted_host
from tests.unit.paths import FIXTURES

FIXTURE = FIXTURES / "stacks.txt"
ROOT = "/opt/stacks"
FOLDER = f"{ROOT}/front"
IMAGE = "redis:7-bookworm"


def definition(name: str, **more: Any) -> dict[str, Any]:
    return {
        "container_name": name,
        "image": IMAGE,
        "env_file": [f"{name}.env"],
        "healthcheck": {"test": ["CMD", "true"]},
        **more,
    }


# What a run asks to say why it recreates a container, of a host that no longer has it.
UNREAD: dict[Any, Any] = {Contents: {}, Variables: {}}
MOUNT = {"type": "bind", "source": f"{FOLDER}/web/web.conf", "target": "/etc/web.conf"}
FOLDER_MOUNT = {"type": "bind", "source": f"{FOLDER}/web", "target": "/etc/web"}


def front(text: str = "x", canary: str = "canary", **fields: Any) -> ComposeStack:
    """A stack of two containers, the second of which depends on the first."""
    defaults: dict[str, Any] = {
        "name": "front",
        "folder": FOLDER,
        "project": {
            "services": {
                "late": definition("late", depends_on={"web": {"condition": "service_healthy"}}),
                "web": definition("web", volumes=[MOUNT], command=["echo", "$HOME"]),
            }
        },
        "files": (
            Directory(f"{FOLDER}/web", mode="0700"),
            File(f"{FOLDER}/web.env", f"PASSWORD={canary}\n", mode="0600", secret=True),
            File(f"{FOLDER}/late.env", "", mode="0600", secret=True),
            File(f"{FOLDER}/web/web.conf", text, mode="0600", secret=True),
        ),
    }
    return ComposeStack(**defaults | fields)


# Of the same two containers.
OUTLINE = Outline(
    "front",
    containers=frozenset({"late", "web"}),
    aliases=frozenset(),
    paths=frozenset({f"{FOLDER}/compose.yaml", *(entry.path for entry in front().files)}),
)


def as_declared(stack: ComposeStack) -> StacksState:
    """A host that is as the stack wants it."""
    found: dict[str, FileState] = {}
    for entry in stack.entries():
        if isinstance(entry, File):
            owner = (entry.owner, "0")
            found[entry.path] = FileState("file", int(entry.mode, 8), owner, owner, sha256=entry.sha256)
        elif isinstance(entry, Directory):
            found[entry.path] = FileState("directory", int(entry.mode, 8), ("root", "0"), ("root", "0"))
    return StacksState(
        tree=TreeState(found),
        changed=dict.fromkeys(found, 100.0),
        containers={
            name: Container(
                name=name,
                project=stack.name,
                service=name,
                folder=stack.folder,
                digest=stack.digest(name),
                networks=stack.networks_of(name),
                image_id="sha256:1",
                health="healthy",
                started=200.0,
            )
            for name in stack.services
        },
        images={IMAGE: Image("sha256:1")},
    )


def with_container(state: StacksState, name: str, **changes: Any) -> StacksState:
    return replace(state, containers={**state.containers, name: replace(state.containers[name], **changes)})


def scripts(stack: ComposeStack, state: StacksState, **options: Any) -> list[str]:
    """The scripts that `up` runs."""
    steps = commands(stacks.up, {**UNREAD, Stacks: state}, root=ROOT, stacks=[stack], **options)
    return [step.script for step in steps]


# --- the fact


def test_the_answer_of_a_real_host_is_read() -> None:
    state = read_stacks(FIXTURE.read_text().splitlines())
    web = state.containers["test-web"]
    assert (web.project, web.service, web.status, web.health) == (
        "stacktest",
        "test-web",
        "running",
        "healthy",
    )
    assert web.folder == "/opt/stacks-test/stacktest"
    assert len(web.digest) == 64
    assert web.published == {"18000/tcp"}
    assert web.aliases == {"test-web", "test-alias"}
    assert web.networks == {"stacktest"}
    assert web.started is not None
    assert web.checked is not None
    assert web.checked - web.started == pytest.approx(33)
    assert web.failing == 0
    whisper = state.containers["shared-whisper"]
    assert (whisper.project, whisper.digest, whisper.managed) == ("", "", False)
    assert whisper.checked is None
    assert [container.name for container in state.of_project("stacktest")] == ["test-web"]
    (name,) = (name for name in state.images if "@" not in name)
    assert state.images[name] == Image(web.image_id)
    assert state.tree.entries["/opt/stacks-test/stacktest"].mode == 0o700
    assert state.tree.entries["/opt/stacks-test/stacktest/compose.yaml"].sha256
    assert state.changed.keys() == state.tree.entries.keys()


def test_a_host_without_docker_has_files_only(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".pyinfra-tree.x").mkdir()
    (tmp_path / "a" / ".pyinfra-tree.x" / "staged").write_text("")
    (tmp_path / "a" / "b c").write_text("")
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("find", "sha256sum"):
        (programs / program).symlink_to(f"/usr/bin/{program}")
    answer = subprocess.run(
        ["/bin/sh", str(SCRIPTS / "stacks.sh"), str(tmp_path / "a")],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=True,
    )
    state = read_stacks(answer.stdout.splitlines())
    assert set(state.tree.entries) == {f"{tmp_path}/a", f"{tmp_path}/a/b c"}
    assert state.tree.abandoned == (f"{tmp_path}/a/.pyinfra-tree.x",)
    assert (state.containers, state.images) == ({}, {})
    assert read_stacks([]) == StacksState() == Stacks.default()


def test_a_container_that_never_started_has_no_time() -> None:
    line = FIXTURE.read_text().split("@@containers\n")[1].splitlines()[0]
    started = line.split('"started":"')[1].split('"')[0]
    never = line.replace(started, "0001-01-01T00:00:00Z")
    assert read_stacks(["@@containers", never]).containers["test-web"].started is None


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("redis:7", "redis:7"),
        ("docker.io/library/redis:7", "redis:7"),
        ("docker.io/louislam/uptime-kuma:1", "louislam/uptime-kuma:1"),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("redis:7@sha256:00", "redis@sha256:00"),
        ("host:5000/redis@sha256:00", "host:5000/redis@sha256:00"),
    ],
)
def test_references_are_compared_as_docker_shows_them(reference: str, shown: str) -> None:
    assert normalized_reference(reference) == shown


def test_networks_are_known_with_whether_they_have_a_way_out() -> None:
    answer = ["@@networks", "coolify false", "langfuse_private true", "@@images", ""]
    assert read_stacks(answer).networks == {"coolify": False, "langfuse_private": True}


# --- networks


def test_a_network_of_its_own_is_made_before_what_is_on_it_starts() -> None:
    stack = front(networks=frozenset({"front_private"}))
    actual = replace(as_declared(stack), networks={"coolify": False})
    assert difference(stack, actual).networks == ("front_private",)
    assert scripts(stack, actual) == ["docker/networks.sh"]
    gone = replace(actual, containers={})
    assert scripts(stack, gone)[-2:] == ["docker/networks.sh", "stacks/up.sh"]
    assert not difference(stack, replace(actual, networks={"front_private": True}))


def test_two_stacks_on_a_network_make_it_once() -> None:
    stack = front(networks=frozenset({"front_private"}))
    other = replace(stack, networks=frozenset({"front_private", "back_private"}))
    steps = commands(stacks.up, {**UNREAD, Stacks: as_declared(stack)}, root=ROOT, stacks=[stack, other])
    made = [step for step in steps if step.script == "docker/networks.sh"]
    assert [step.get_raw_value().split()[-2:] for step in made] == [["front_private", "back_private"]]


def on_networks(*names: str, internal: tuple[str, ...] = ()) -> ComposeStack:
    """A stack whose container `web` is on these networks, and `late` on none that is declared."""
    stack = front(networks=frozenset(internal))
    services = dict(stack.services)
    services["web"] = {**services["web"], "networks": {f"key-{name}": {} for name in names}}
    project = {"services": services, "networks": {f"key-{name}": {"name": name} for name in names}}
    return replace(stack, project=project)


@pytest.mark.parametrize(
    ("internal", "on", "recreated"),
    [
        ((), {"coolify"}, False),
        ((), set(), True),
        ((), {"other"}, True),
        ((), {"coolify", "other"}, False),
        (("coolify",), {"coolify"}, False),
        (("coolify",), {"coolify", "other"}, True),
    ],
)
def test_a_container_on_other_networks_is_made_anew(
    internal: tuple[str, ...], on: set[str], recreated: bool
) -> None:
    stack = on_networks("coolify", internal=internal)
    actual = replace(as_declared(stack), networks={"coolify": bool(internal)})
    found = difference(stack, with_container(actual, "web", networks=frozenset(on)))
    assert [(step.container, step.recreates) for step in found.starts] == [("web", True)] * recreated


def test_a_network_of_that_name_with_a_way_out_is_refused() -> None:
    stack = front(networks=frozenset({"front_private"}))
    actual = replace(as_declared(stack), networks={"front_private": False})
    with pytest.raises(OperationError, match="found it with a way out; expected it internal"):
        difference(stack, actual)


# --- compose.yaml


@pytest.mark.checklist("2.4")
def test_compose_gets_the_digest_and_nothing_to_interpolate() -> None:
    stack = front()
    document = yaml.safe_load(stack.compose())
    assert document["name"] == "front"
    assert document["services"]["web"]["labels"] == {"stack.digest": stack.digest("web")}
    assert document["services"]["web"]["command"] == ["echo", "$$HOME"]
    assert stack.compose() == front().compose()
    assert "canary" not in stack.compose()


def test_the_digest_is_of_everything_that_a_container_is_made_from() -> None:
    plain = front()
    assert front(canary="b").digest("web") != plain.digest("web")
    assert front(canary="b").digest("late") == plain.digest("late")
    assert front(text="y").digest("web") != plain.digest("web")
    services = plain.project["services"]
    other = front(project={"services": {**services, "web": {**services["web"], "mem_limit": "1g"}}})
    assert other.digest("web") != plain.digest("web")
    order = front(project={"services": {**services, "web": dict(reversed(services["web"].items()))}})
    assert order.digest("web") == plain.digest("web")
    reload = {"web": ["true"]}
    assert front(text="y", reload=reload).digest("web") == front(reload=reload).digest("web")
    assert front(canary="b", reload=reload).digest("web") != front(reload=reload).digest("web")


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"name": "Front"}, "expected a name"),
        ({"project": {"services": {"web": definition("other")}}}, "must have that container_name"),
        ({"project": {"services": {"web": {"container_name": "web"}}}}, "has no healthcheck"),
        ({"files": ()}, "which is not declared"),
        ({"files": (*front().files, File("/etc/passwd", ""))}, "is not below"),
        ({"stateful": frozenset({"db"})}, "has no service db"),
        ({"reload": {"web": []}}, "no command"),
    ],
)
def test_a_stack_that_makes_no_sense_is_refused(fields: dict[str, Any], output: str) -> None:
    with pytest.raises(ValueError, match=output):
        front(**fields)


# --- differences


def test_what_is_as_declared_is_left_alone() -> None:
    assert not difference(front(), as_declared(front()))
    with scripted_host({**UNREAD, Stacks: as_declared(front())}) as host:
        assert list(stacks.up._inner(root=ROOT, stacks=[front()])) == []
    assert host.noops == ["front: as declared"]
    assert len(host.asked) == 1


def test_on_a_bare_host_everything_is_done_in_order() -> None:
    step = difference(front(), StacksState())
    assert step.pulls == (IMAGE,)
    assert step.levels() == [["web"], ["late"]]
    steps = commands(stacks.up, {**UNREAD, Stacks: StacksState()}, root=ROOT, stacks=[front()])
    assert [step.script for step in steps] == ["docker/pull.sh", "host/apply-tree.sh", "stacks/up.sh"]
    assert steps[-1].payload == "=web\n=late\n"
    assert "canary" not in "".join(map(str, steps))


def test_a_changed_file_changes_its_container_only() -> None:
    state = as_declared(front())
    step = difference(front(text="y"), state)
    assert [(start.container, start.recreates) for start in step.starts] == [("web", True)]
    assert set(step.files) == {f"{FOLDER}/compose.yaml", f"{FOLDER}/web/web.conf"}
    assert scripts(front(text="y"), state) == ["host/apply-tree.sh", "stacks/up.sh"]


def test_the_container_that_a_dead_run_did_not_make_is_made() -> None:
    state = as_declared(front(text="y"))
    old = with_container(state, "web", digest=front().digest("web"))
    (up,) = commands(stacks.up, {**UNREAD, Stacks: old}, root=ROOT, stacks=[front(text="y")])
    assert (up.script, up.payload) == ("stacks/up.sh", "web\n")


@pytest.mark.parametrize(
    ("changes", "reason", "recreates"),
    [
        ({"digest": "other"}, "was made from another declaration", True),
        ({"image_id": "sha256:2"}, f"was made from another {IMAGE}", True),
        ({"status": "exited"}, "is exited", False),
        ({"status": "restarting"}, "is restarting", False),
        ({"health": "unhealthy"}, "is unhealthy", False),
        ({"health": "starting"}, "is starting", False),
        ({"health": None}, "is without a health check", False),
    ],
)
def test_what_is_not_as_it_should_be_is_brought_up(
    changes: dict[str, Any], reason: str, recreates: bool
) -> None:
    (start,) = difference(front(), with_container(as_declared(front()), "web", **changes)).starts
    assert (start.container, start.reason, start.recreates) == ("web", reason, recreates)


@pytest.mark.parametrize(
    ("before", "output"),
    [
        ({"text": "y"}, "web/web.conf"),
        ({"canary": "another"}, "web.env"),
        ({"image": "web:0"}, f"image from web:0 to {IMAGE}"),
        ({"mem_limit": "256m"}, "mem_limit"),
        ({"command": ["other", "$HOME"]}, "command"),
        ({"labels": {"a": "b"}, "canary": "another"}, "labels, web.env"),
        ({}, "an earlier run wrote its files and did not recreate it"),
    ],
)
def test_a_recreated_container_says_what_has_changed(before: dict[str, Any], output: str) -> None:
    """By compose.yaml and the hashes of the files, as an earlier run wrote them."""
    texts = {key: before[key] for key in before.keys() & {"text", "canary"}}
    fields = {key: value for key, value in before.items() if key not in texts}
    now, project = front(), front().project
    services = {**project["services"], "web": {**project["services"]["web"], **fields}}
    old = front(**texts, project={**project, "services": services})
    state = with_container(as_declared(old), "web", digest="older")
    answers: dict[Any, Any] = {
        Stacks: state,
        Variables: {},
        Contents: {f"{FOLDER}/compose.yaml": old.compose().encode()},
    }
    with scripted_host(answers) as host:
        list(stacks.up._inner(root=ROOT, stacks=[now]))
    assert f"web: was made from another declaration: {output}" in host.logged
    assert "canary" not in "".join(host.logged)


def test_the_log_names_the_variables_that_change_and_no_value() -> None:
    env = f"{FOLDER}/web.env"
    now = front(
        files=(*front().files[:1], File(env, "KEPT='a\nb'\nTOKEN=canary\nNEW=canary\n"), *front().files[2:])
    )
    before = variables("TOKEN=other-canary\nKEPT='a\nb'\nOLD=canary\n")
    state = as_declared(front(canary="other"))
    with scripted_host({Stacks: state, Variables: {env: before}, Contents: {}}) as host:
        list(stacks.up._inner(root=ROOT, stacks=[now]))
    assert f"{env}: TOKEN changed, NEW added, OLD removed" in host.logged
    assert "canary" not in "".join(host.logged)


def test_a_compose_file_that_is_no_text_stops_no_run() -> None:
    answers: dict[Any, Any] = {
        Stacks: with_container(as_declared(front()), "web", digest="older"),
        Contents: {f"{FOLDER}/compose.yaml": b"services: \xff"},
    }
    with scripted_host(answers) as host:
        list(stacks.up._inner(root=ROOT, stacks=[front()]))
    assert any(line.startswith("web: was made from another declaration") for line in host.logged)


def test_nothing_more_is_asked_where_nothing_differs() -> None:
    with scripted_host({Stacks: as_declared(front())}) as host:
        list(stacks.up._inner(root=ROOT, stacks=[front()]))
    assert len(host.asked) == 1


def test_the_host_tells_variables_by_hashes(tmp_path: Path) -> None:
    text = "PLAIN=a=b\nQUOTED='it\\'s'\nEMPTY=\nLINES='one\nTWO=three\n'\nLAST=x\n"
    (tmp_path / "a.env").write_text(text)
    script = SCRIPTS / "environment-files.sh"
    done = subprocess.run(
        ["sh", str(script), str(tmp_path / "a.env"), str(tmp_path / "none")], capture_output=True, text=True
    )
    answer = Variables().process(done.stdout.splitlines())
    assert answer == {str(tmp_path / "a.env"): variables(text)}
    assert list(variables(text)) == ["PLAIN", "QUOTED", "EMPTY", "LINES", "LAST"]


def test_no_line_of_an_edited_environment_file_is_taken_for_a_name(tmp_path: Path) -> None:
    """Somebody may have written a value of several lines in double quotes: these lines are the secret."""
    text = 'KEY="-----BEGIN\ncanary\ncan/ary=\n\n# canary=1\n"\nLAST=x\n'
    (tmp_path / "a.env").write_text(text)
    script = SCRIPTS / "environment-files.sh"
    done = subprocess.run(["sh", str(script), str(tmp_path / "a.env")], capture_output=True, text=True)
    assert "ary" not in done.stdout
    answer = Variables().process(done.stdout.splitlines())
    assert answer == {str(tmp_path / "a.env"): variables(text)}
    assert list(variables(text)) == ["KEY", "LAST"]


@pytest.mark.parametrize("health", ["unhealthy", "starting"])
def test_a_container_that_comes_to_its_health_by_itself_is_no_change(health: str) -> None:
    stack = front()
    well = as_declared(stack)
    unwell = with_container(well, "web", health=health)
    with scripted_host({**UNREAD, Stacks: InTurn([unwell, unwell, well])}) as host:
        assert list(stacks.up._inner(root=ROOT, stacks=[stack])) == []
    assert host.noops == ["front: as declared"]
    assert host.logged == [f"waiting for web, which is {health}"]


def test_a_container_that_stays_unhealthy_is_brought_up_and_says_why(waited: list[float]) -> None:
    stack = front()
    assert scripts(stack, with_container(as_declared(stack), "web", health="unhealthy")) == ["stacks/up.sh"]
    assert SETTLED_S <= sum(waited) < SETTLED_S + ASKED_AGAIN_S
    waited.clear()
    unwell = with_container(as_declared(stack), "web", health="unhealthy")
    scripts(stack, unwell, timeout_s=8)
    assert 8 <= sum(waited) < 8 + ASKED_AGAIN_S


@pytest.mark.parametrize("late", [{"status": "exited"}, {"digest": "another"}])
def test_nobody_waits_for_the_health_of_one_while_there_is_something_to_do(
    late: dict[str, str], waited: list[float]
) -> None:
    stack = front()
    unwell = with_container(as_declared(stack), "web", health="unhealthy")
    assert scripts(stack, with_container(unwell, "late", **late))
    assert waited == []


def settled(*answers: StacksState) -> list[str]:
    """What the check reports where the host gives these answers, one after the other."""
    outline = replace(OUTLINE, stateful=frozenset({"web"}))
    with scripted_host({**UNREAD, Stacks: InTurn(answers)}):
        return [step.args[0] for step in stacks.settled._inner(ROOT, [outline])]


def test_a_run_ends_when_everything_was_found_healthy_on_what_it_depends_on(waited: list[float]) -> None:
    found = as_declared(front())  # both were started at 200
    before = with_container(with_container(found, "web", checked=201.0), "late", checked=199.0)
    after = with_container(before, "late", checked=210.0)
    assert settled(after) == []
    assert waited == []
    assert settled(before, with_container(after, "late", failing=1), after) == []
    assert waited == [ASKED_AGAIN_S] * 2
    (text,) = settled(before)
    assert "container late" in text
    assert "container web" not in text
    assert "before the data that it may use was there again" in text


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ({"health": "unhealthy", "failing": 3}, "unhealthy"),
        ({"health": "starting"}, "starting"),
        ({"failing": 2}, "its last 2 health checks"),
        ({"status": "restarting"}, "restarting"),
    ],
)
def test_what_has_not_settled_is_named_with_its_state(changes: dict[str, Any], output: str) -> None:
    found = as_declared(front())
    for name in found.containers:
        found = with_container(found, name, checked=300.0)
    (text,) = settled(with_container(found, "late", **changes))
    assert output in text
    assert settled(with_container(found, "late", status="exited", health="unhealthy")) == []
    assert settled(with_container(found, "late", project="another", health="unhealthy")) == []


def test_an_image_without_its_tag_is_pulled_when_it_is_needed_only() -> None:
    state = replace(as_declared(front()), images={})
    assert not difference(front(), state)
    assert difference(front(), with_container(state, "web", digest="")).pulls == (IMAGE,)


def test_what_others_left_half_done_is_theirs() -> None:
    state = as_declared(front())
    left = replace(state, tree=replace(state.tree, abandoned=(f"{ROOT}/back/.pyinfra-tree.x",)))
    assert not difference(front(), left)
    ours = replace(state, tree=replace(state.tree, abandoned=(f"{FOLDER}/.pyinfra-tree.x",)))
    assert scripts(front(), ours) == ["host/apply-tree.sh"]


# --- reloads


def reloading(text: str = "x") -> ComposeStack:
    services = {**front().project["services"], "web": definition("web", volumes=[FOLDER_MOUNT])}
    return front(text=text, project={"services": services}, reload={"web": ["kill", "-HUP", "1"]})


def test_a_container_that_reads_its_files_again_is_reloaded() -> None:
    state = as_declared(reloading())
    assert not difference(reloading(), state)
    apply, reload = commands(stacks.up, {**UNREAD, Stacks: state}, root=ROOT, stacks=[reloading("y")])
    assert (apply.script, reload.script) == ("host/apply-tree.sh", "stacks/reload.sh")
    assert str(reload).endswith(f"stacks/reload.sh {FOLDER}/{RELOADED} web kill -HUP 1")


@pytest.mark.parametrize(
    ("changed", "started", "noted", "reloaded"),
    [(100, 200, None, False), (300, 200, None, True), (300, 200, 400, False), (500, 200, 400, True)],
)
def test_the_reload_that_a_dead_run_owed_is_made(
    changed: float, started: float, noted: float | None, reloaded: bool
) -> None:
    state = with_container(as_declared(reloading()), "web", started=started)
    times = {**state.changed, f"{FOLDER}/web/web.conf": changed}
    if noted is not None:
        times[f"{FOLDER}/{RELOADED}/web"] = noted
    assert difference(reloading(), replace(state, changed=times)).reloads == (("web",) if reloaded else ())


def test_a_container_that_is_made_anew_needs_no_reload() -> None:
    state = with_container(as_declared(reloading()), "web", digest="")
    assert difference(reloading("y"), state).reloads == ()


# --- containers with data


def test_data_is_saved_before_its_container_is_made_anew() -> None:
    stack = front(text="y", stateful=frozenset({"web"}))
    state = as_declared(front())
    with pytest.raises(OperationError, match="only after its backup"):
        scripts(stack, state)
    saving = Saving("/opt/scripts/backup.sh", "/opt/backups", {"web": ["volume/web"]})
    with pytest.raises(OperationError, match=r"web: .* only after its backup"):
        scripts(stack, state, before_recreate=replace(saving, pieces={"late": ["volume/late"]}))
    save, read_back, apply, up = commands(
        stacks.up,
        {**UNREAD, Stacks: state, Backups: {}},
        root=ROOT,
        stacks=[stack],
        before_recreate=saving,
    )
    assert str(save).endswith("backup/save-first.sh /opt/scripts/backup.sh volume/web")
    assert read_back.args == (["volume/web"], "/opt/backups", {})
    assert (apply.script, up.script) == ("host/apply-tree.sh", "stacks/up.sh")


def test_data_of_a_container_that_is_down_is_not_promised_to_be_saved() -> None:
    stack = front(text="y", stateful=frozenset({"web"}))
    saving = Saving("/opt/scripts/backup.sh", "/opt/backups", {"web": ["volume/web"]})
    for status in ("exited", "restarting"):
        state = with_container(as_declared(front()), "web", status=status)
        with pytest.raises(OperationError, match=r"not running.* docker rm --force web \(the volumes stay\)"):
            scripts(stack, state, before_recreate=saving)


def test_what_is_missing_or_stopped_needs_no_backup() -> None:
    stack = front(stateful=frozenset({"web"}))
    state = as_declared(stack)
    gone = replace(state, containers={"late": state.containers["late"]})
    assert scripts(stack, gone) == ["stacks/up.sh"]
    assert scripts(stack, with_container(state, "web", status="exited")) == ["stacks/up.sh"]
    assert scripts(front(text="y", stateful=frozenset({"late"})), as_declared(front())) == [
        "host/apply-tree.sh",
        "stacks/up.sh",
    ]


# --- what is somebody else's


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ({"project": "", "service": ""}, "of no Compose project"),
        ({"project": "old"}, "of the Compose project old"),
        ({"project": "x1y2", "managed": True}, "managed by Coolify"),
        ({"service": "db"}, "of the Compose project front"),
    ],
)
def test_another_container_of_that_name_stops_the_run(changes: dict[str, Any], output: str) -> None:
    with pytest.raises(OperationError, match=output):
        difference(front(), with_container(as_declared(front()), "web", **changes))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"name": "web"}, "of the Compose project x1y2, managed by Coolify"),
        (
            {"name": "web-x1y2", "aliases": {"web-x1y2", "web", "front"}},
            "managed by Coolify, which answers to web",
        ),
    ],
)
def test_what_coolify_manages_under_one_of_our_names_is_named(fields: dict[str, Any], found: str) -> None:
    theirs = Container(
        project="x1y2", managed=True, **fields | {"aliases": frozenset(fields.get("aliases", ()))}
    )
    state = StacksState(containers={theirs.name: theirs})
    (problem,) = managed([OUTLINE], state, "see the guide")
    assert (problem.what, problem.remedy) == (f"container {theirs.name}", "see the guide")
    assert problem.found.endswith(found)
    ours = replace(theirs, managed=False)
    assert not list(managed([OUTLINE], StacksState(containers={ours.name: ours}), ""))
    other = replace(theirs, name="coolify-db", aliases=frozenset({"coolify-db"}))
    assert not list(managed([OUTLINE], StacksState(containers={other.name: other}), ""))


def test_a_port_that_another_container_publishes_stops_the_run() -> None:
    services = {"web": definition("web", ports=["127.0.0.1:18000:80", "443:443/udp"])}
    stack = front(project={"services": services})
    state = as_declared(stack)

    def beside(**fields: Any) -> StacksState:
        return replace(state, containers={**state.containers, "other": Container(name="other", **fields)})

    for port in ("18000/tcp", "443/udp"):
        with pytest.raises(OperationError, match=f"{port} of the host published by container other"):
            difference(stack, beside(published=frozenset({port})))
    assert not difference(stack, beside(published=frozenset({"443/tcp", "80/tcp"})))
    assert not difference(stack, beside(published=frozenset({"18000/tcp"}), status="exited"))


def test_a_stack_makes_way_for_the_container_that_does_its_work() -> None:
    other = Container(name="coolify-proxy", project="coolify-proxy")
    state = StacksState(containers={other.name: other})
    assert scripts(front(), state, skip_if_running="coolify-proxy") == []
    stopped = StacksState(containers={other.name: replace(other, status="exited")})
    assert scripts(front(), stopped, skip_if_running="coolify-proxy")
    assert scripts(front(), as_declared(front(text="y")), skip_if_running="web")  # our own is no reason


def test_a_stack_lies_in_the_root() -> None:
    with pytest.raises(ValueError, match="is not in /srv"):
        commands(stacks.up, {**UNREAD, Stacks: StacksState()}, root="/srv", stacks=[front()])


# --- images that are built


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM x:1\n")
    (tmp_path / "entry").write_text("#!/bin/sh\n")
    return tmp_path


def test_the_digest_of_a_build_covers_all_of_its_inputs(folder: Path) -> None:
    digest = Build(folder).digest
    assert Build(folder).digest == digest
    assert Build(folder, {"MAJOR": "16"}).digest != digest
    (folder / "entry").chmod(0o755)
    executable = Build(folder).digest
    assert executable != digest
    (folder / "more").write_text("")
    assert Build(folder).digest not in (digest, executable)
    with pytest.raises(ValueError, match="no Dockerfile"):
        Build(folder / "nowhere")


def test_an_image_is_built_when_its_folder_is_another(folder: Path) -> None:
    build = Build(folder, {"MAJOR": "16"})
    stack = front(builds={IMAGE: build})
    state = replace(as_declared(stack), images={IMAGE: Image("sha256:1", build.digest)})
    assert not difference(stack, state)
    stale = replace(state, images={IMAGE: Image("sha256:1", "other")})
    step = difference(stack, stale)
    assert step.builds == (IMAGE,)
    assert [start.recreates for start in step.starts] == [True, True]
    missing = difference(stack, replace(state, images={}, containers={}))
    assert (missing.builds, missing.pulls) == ((IMAGE,), ())
    (made, up) = commands(stacks.up, {**UNREAD, Stacks: stale}, root=ROOT, stacks=[stack])
    assert str(made).endswith(f"stacks/build.sh {IMAGE} stack.build={build.digest} MAJOR=16")
    assert up.script == "stacks/up.sh"


# --- what is no longer declared


def test_what_is_no_longer_declared_is_reported_and_not_touched() -> None:
    state = as_declared(front())
    old = Container(name="old", project="back", folder=f"{ROOT}/back")
    orphan = Container(name="orphan", project="front", folder=FOLDER)
    foreign = Container(name="foreign", project="theirs", folder="/srv/theirs")
    folder = FileState("directory", 0o700, ("root", "0"), ("root", "0"))
    file = FileState("file", 0o600, ("root", "0"), ("root", "0"))
    tree = {
        **state.tree.entries,
        f"{ROOT}/gone": folder,
        f"{ROOT}/gone/x.env": file,
        f"{FOLDER}/orphan.env": file,
        f"{FOLDER}/{RELOADED}/web": file,
    }
    containers = {c.name: c for c in (*state.containers.values(), old, orphan, foreign)}
    left = undeclared(ROOT, [OUTLINE], replace(state, tree=TreeState(tree), containers=containers))
    assert left == Undeclared(("back", "gone"), ("orphan",), (f"{FOLDER}/orphan.env",))
    assert undeclared(ROOT, [OUTLINE], state) == Undeclared()
    assert commands(stacks.report_undeclared, {**UNREAD, Stacks: state}, root=ROOT, declared=[OUTLINE]) == []


def test_only_what_is_asked_for_and_there_is_removed() -> None:
    state = as_declared(front())
    foreign = Container(name="foreign", project="theirs", folder="/srv/theirs")
    state = replace(state, containers={**state.containers, "foreign": foreign})

    def removed(*names: str) -> list[str]:
        return [
            str(step) for step in commands(stacks.removed, {**UNREAD, Stacks: state}, root=ROOT, names=names)
        ]

    assert removed("back", "foreign") == []
    (step,) = removed("front", "back", "late")
    assert step.endswith(f"stacks/remove.sh {ROOT} '' front late")
    for name in ("../x", "-f", "a b", ""):
        with pytest.raises(ValueError):
            removed(name)


# --- the scripts


def test_a_bad_environment_file_is_not_quoted_by_the_validation(tmp_path: Path) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    output = 'failed to read x.env: line 3: unexpected character \\"!\\" in variable name near \\"canary\\"'
    docker.write_text(f'#!/bin/sh\nls *.env >"{tmp_path}/saw"\necho "{output}"\nexit 15\n')
    docker.chmod(0o755)
    folder = tmp_path / "front"
    (folder / ".staged").mkdir(parents=True)
    (folder / "a.env").write_text("")
    compose = front().entries()[-1]
    assert isinstance(compose, File)
    validate = (compose.validate or "").replace(FOLDER, str(folder)).replace("{path}", '"$1"')
    done = subprocess.run(
        ["bash", "-c", validate, "validate", str(folder / ".staged" / "compose.yaml")],
        env={"PATH": f"{docker.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 15
    assert "line 3: unexpected character" in done.stdout
    assert "canary" not in done.stdout + done.stderr
    assert (tmp_path / "saw").read_text() == "a.env\n"


def test_a_failed_backup_ends_the_run() -> None:
    script = ["bash", str(FILES / "backup/save-first.sh")]
    assert subprocess.run([*script, "true"], capture_output=True).returncode == 0
    failed = subprocess.run([*script, "false"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert "nothing was changed" in failed.stderr


# --- the script that removes

DOCKER = """
log "$*"
[ ! -e "$STATE/down" ] || { echo 'Cannot connect to the Docker daemon' >&2; exit 1; }
case $* in
"ps "*label=*) echo c1 ;;
"volume ls "*) echo shop_data ;;
*.Mountpoint*) echo "$STATE/volume" ;;
esac
"""


@pytest.fixture
def removing(bench: Bench, tmp_path: Path) -> Path:
    """A host with one stack, which has a volume."""
    bench.program("docker", DOCKER)
    bench.program("sync", 'log "sync $2"')
    for folder in ("root/shop", "volume"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "volume" / "rows").write_text("all of them")
    return tmp_path


def test_a_volume_is_removed_once_its_archive_is_on_the_disk(bench: Bench, removing: Path) -> None:
    left = removing / "saved" / "shop_data" / "20200101T000000Z.tar.zst.part"
    left.parent.mkdir(parents=True)
    left.touch()
    done = bench.run("stacks/remove.sh", removing / "root", removing / "saved", "shop", STATE=str(removing))
    assert done.returncode == 0, done.stderr
    (archive,) = left.parent.iterdir()
    last = bench.calls[-3:]
    assert last == [f"sync {archive}.part", f"sync {archive.parent}", "volume rm -- shop_data"]
    listed = subprocess.run(["tar", "--zstd", "-tf", archive], capture_output=True, text=True, check=True)
    assert "./rows" in listed.stdout
    assert not (removing / "root" / "shop").exists()


def test_nothing_is_called_removed_where_docker_is_silent(bench: Bench, removing: Path) -> None:
    (removing / "down").touch()
    done = bench.run("stacks/remove.sh", removing / "root", "", "shop", STATE=str(removing))
    assert done.returncode != 0
    assert "removed" not in done.stdout
    assert (removing / "root" / "shop").exists()

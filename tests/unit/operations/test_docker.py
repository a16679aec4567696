from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.exceptions import FactProcessError, OperationError, OperationValueError
from pyinfra.api.hiddenvalue import HiddenValue

from facts.docker import Engine, EngineState, Images, Network, Published, Server, Statuses, read_engine
from facts.files import Tree, TreeState
from facts.firewall import read_tables
from facts.script import SCRIPTS
from operations import containers, docker
from operations.docker import auth_sha256, merge, missing_rules, problems, refusal, restart_needed
from operations.script import FILES, Script
from tests.unit.bench import Bench
from tests.unit.hosts import commands
from tests.unit.paths import FIXTURES


def recorded(name: str) -> list[str]:
    """What the fact's script printed on a host with Docker 26.1.5."""
    return (FIXTURES / name).read_text().splitlines()


SERVER = Server(
    version="26.1.5+dfsg1",
    driver="overlay2",
    root="/var/lib/docker",
    live_restore=True,
    running=2,
    containers=3,
)
DESIRED = {"log-opts": {"max-size": "10m"}, "live-restore": True}
ENGINE = EngineState(
    installed=True, server=SERVER, config=json.dumps(DESIRED), config_changed=100.0, started=100.5
)


# --- the facts


def test_reads_an_engine() -> None:
    engine = read_engine(recorded("docker-engine.txt"))
    assert engine.installed
    assert engine.compose == "2.26.1-4"
    assert engine.server == Server(
        version="26.1.5+dfsg1",
        driver="vfs",
        root="/var/lib/docker",
        live_restore=True,
        running=0,
        containers=0,
    )
    assert json.loads(engine.config or "")["log-opts"] == {"max-size": "10m", "max-file": "3"}
    assert engine.config_changed == 1795378638.472482635
    assert engine.started == 1795378434.587957
    assert engine.networks.keys() == {"bridge", "coolify", "host", "none"}
    assert engine.networks["bridge"] == Network("bridge", "bridge", False, "docker0", ("172.17.0.0/16",))
    assert engine.networks["coolify"] == Network(
        "coolify", "bridge", False, "br-a12864ac8bf8", ("10.0.0.0/24",)
    )
    assert engine.networks["host"] == Network("host", "host")
    assert engine.published == (Published("shared-whisper", "tcp", 9000),)
    assert engine.rules is not None and engine.rules["nat", "DOCKER"][0] == "-i docker0 -j RETURN"
    assert engine.logins == {"127.0.0.1:5000": auth_sha256("u", "p w")}


def test_a_daemon_that_does_not_answer_is_no_server() -> None:
    engine = read_engine(recorded("docker-engine-down.txt"))
    assert engine.installed
    assert engine.compose == "2.26.1-4"
    assert engine.server is None


def test_reads_a_host_without_docker() -> None:
    assert read_engine([]) == Engine.default() == EngineState()
    assert read_engine(["@@config", "100.0", "{}"]) == EngineState(config="{}", config_changed=100.0)


def test_an_engine_may_have_no_network() -> None:
    """The daemon does not answer: nothing but the empty line."""
    assert read_engine(["@@installed", "@@networks", ""]).networks == {}
    with pytest.raises(FactProcessError):
        read_engine(["@@installed", "@@networks", "Error"])


def test_what_runs_is_stopped_in_order() -> None:
    found = Statuses().process(["/one running", "/two exited", "/three restarting", ""])
    (command,) = commands(containers.stopped, {Statuses: found}, ["three", "two", "one", "none"])
    assert str(command).endswith("docker/stop.sh three one")
    assert commands(containers.stopped, {Statuses: Statuses.default()}, ["one"]) == []


def test_the_host_lists_its_containers(bench: Bench) -> None:
    bench.program("docker", 'log "$*"; echo "/one running"; exit 1')
    done = bench.run("facts/containers.sh", "one", "none")
    assert (done.returncode, Statuses().process(done.stdout.splitlines())) == (0, {"one": "running"})
    assert bench.calls == ["inspect --type container --format {{.Name}} {{.State.Status}} -- one none"]


@pytest.fixture
def host_docker(tmp_path: Path) -> dict[str, str]:
    """Environment with a `docker` that answers what a real one does where the tests need it."""
    program = tmp_path / "docker"
    program.write_text(
        '#!/bin/sh\ncase "$1 $2" in\n"image inspect") [ "$6" = here:1 ] && echo sha256:1 ;;\nesac\n'
    )
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKER_CONFIG": str(tmp_path)}


def ask(script: str, *arguments: str, env: dict[str, str]) -> list[str]:
    command = ["sh", str(SCRIPTS / script), *arguments]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.splitlines()


def test_logins_are_hashes(host_docker: dict[str, str], tmp_path: Path) -> None:
    logins = {
        "ghcr.io": {"auth": "dTpwIHc="},
        "https://index.docker.io/v1/": {"auth": "eDp5"},
        "helped.by": {},
    }
    (tmp_path / "config.json").write_text(json.dumps({"auths": logins, "other": {"x": "y"}}, indent="\t"))
    answer = ask("docker.sh", "/nonexistent", "logins", env=host_docker)
    assert read_engine(answer).logins == {
        "ghcr.io": auth_sha256("u", "p w"),
        "https://index.docker.io/v1/": auth_sha256("x", "y"),
    }
    assert "dTpwIHc=" not in "\n".join(answer)


@pytest.mark.parametrize("text", ['{"a": 1}\n', '{"a": 1}'])
def test_only_what_is_asked_for_is_answered(host_docker: dict[str, str], tmp_path: Path, text: str) -> None:
    config = tmp_path / "daemon.json"
    config.write_text(text)
    assert ask("docker.sh", str(config), "networks", env=host_docker) == ["@@installed", "@@networks", ""]
    engine = read_engine(ask("docker.sh", str(config), "daemon", env=host_docker))
    assert engine.config == text
    assert engine.config_changed == pytest.approx(config.stat().st_mtime)
    (tmp_path / "docker").unlink()
    absent = {**host_docker, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert not read_engine(ask("docker.sh", str(config), "daemon", "networks", env=absent)).installed


def test_images_that_are_there(host_docker: dict[str, str]) -> None:
    answer = ask("images.sh", "here:1", "gone:2", env=host_docker)
    assert Images().process(answer) == {"here:1": "sha256:1"}
    assert Images.default() == {}


# --- problems of an engine that is there


@pytest.mark.parametrize(
    ("engine", "output"),
    [
        (EngineState(), []),
        (replace(ENGINE, compose="2.26.1-4"), []),
        (replace(ENGINE, compose="v5.0.0"), []),
        (replace(ENGINE, compose=None), ["no `docker compose`"]),
        (replace(ENGINE, compose="1.29.2"), ["version 1.29.2"]),
        (replace(ENGINE, compose="2.26.1", server=replace(SERVER, version="20.10.24")), ["version 20.10.24"]),
        (replace(ENGINE, compose="2.26.1", server=None), ["installed, but it does not answer"]),
    ],
)
def test_problems_of_an_engine(engine: EngineState, output: list[str]) -> None:
    assert [problem.found for problem in problems(engine, minimum_engine="24.0")] == output


# --- the daemon's configuration


def test_others_settings_stay_and_ours_win() -> None:
    theirs = {"log-opts": {"max-size": "1g", "tag": "x"}, "debug": True, "dns": ["192.0.2.1"]}
    assert merge(theirs, {**DESIRED, "dns": ["192.0.2.2"]}) == {
        "log-opts": {"max-size": "10m", "tag": "x"},
        "debug": True,
        "dns": ["192.0.2.2"],
        "live-restore": True,
    }
    assert merge(DESIRED, DESIRED) == DESIRED
    assert merge({"log-opts": "nonsense"}, DESIRED) == DESIRED


def test_nothing_to_do() -> None:
    assert commands(docker.daemon, {Engine: ENGINE}, DESIRED) == []


def test_a_new_setting_is_validated_written_and_used() -> None:
    engine = replace(ENGINE, config='{"debug": true}')
    write, restart = commands(docker.daemon, {Engine: engine, Tree: TreeState()}, DESIRED)
    assert write.script == "host/apply-tree.sh"
    assert 'dockerd --validate --config-file="$1"' in write.payload
    written = base64.b64decode(write.payload.rstrip().splitlines()[-1])
    assert json.loads(written) == {"debug": True, **DESIRED}
    assert isinstance(restart, Script)
    assert str(restart).endswith("docker/restart.sh true")


def test_a_fresh_host_would_change() -> None:
    assert len(commands(docker.daemon, {Engine: EngineState(), Tree: TreeState()}, DESIRED)) == 2


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, False),
        ({"config_changed": 100.6}, True),
        ({"config_changed": None}, False),
        ({"server": None}, True),
        ({"started": None}, True),
    ],
)
def test_the_restart_that_an_interrupted_run_owed_is_made(changes: dict[str, Any], needed: bool) -> None:
    engine = replace(ENGINE, **changes)
    assert restart_needed(engine) is needed
    assert [step.script for step in commands(docker.daemon, {Engine: engine}, DESIRED)] == (
        ["docker/restart.sh"] if needed else []
    )


@pytest.mark.parametrize(
    ("settings", "server", "output"),
    [
        ({"live-restore": False}, SERVER, "leaves them dead"),
        ({}, SERVER, "leaves them dead"),
        ({"live-restore": False}, replace(SERVER, running=0), None),
        ({"live-restore": False}, replace(SERVER, live_restore=False), None),
        ({"live-restore": True}, replace(SERVER, live_restore=False), None),
        ({"live-restore": True, "storage-driver": "overlay2"}, SERVER, None),
        ({"live-restore": True, "storage-driver": "zfs"}, SERVER, "declare storage-driver overlay2"),
        ({"live-restore": True, "data-root": "/srv/docker"}, SERVER, "declare data-root /var/lib/docker"),
        ({"live-restore": True, "data-root": "/srv"}, replace(SERVER, running=0, containers=0), None),
        ({"live-restore": False}, None, None),
    ],
)
def test_a_restart_that_hurts_is_refused(
    settings: dict[str, Any], server: Server | None, output: str | None
) -> None:
    reason = refusal(replace(ENGINE, server=server), settings)
    assert (reason is None) if output is None else (reason is not None and output in reason)


def test_it_is_refused_before_the_file_is_written() -> None:
    with pytest.raises(OperationError, match="leaves them dead"):
        commands(docker.daemon, {Engine: ENGINE}, {"live-restore": False})


@pytest.mark.parametrize("text", ["{", "[]", "true"])
def test_a_file_that_is_no_configuration_is_not_overwritten(text: str) -> None:
    with pytest.raises(OperationError, match="found no JSON object"):
        commands(docker.daemon, {Engine: replace(ENGINE, config=text)}, DESIRED)


def test_an_empty_file_is_none() -> None:
    assert len(commands(docker.daemon, {Engine: replace(ENGINE, config=""), Tree: TreeState()}, DESIRED)) == 2


RESTART = """
case "$0 $1 $2" in
*"systemctl reload "*) echo reload >>"$LOG"; [ "$REFUSED" ] || echo true >"$LOG.live" ;;
*"systemctl restart "*) echo restart >>"$LOG"; [ -z "$DEAD" ] ;;
*"docker ps "*) [ -z "$RUNNING" ] || echo 31a6bc7e045f ;;
*"docker info "*) cat "$LOG.live" ;;
*"journalctl "*) echo "unable to configure the Docker daemon" ;;
*"sleep "*) ;;
esac
"""


@pytest.mark.parametrize(
    ("live", "desired", "circumstances", "done", "rc"),
    [
        ("false", "true", {"RUNNING": "1"}, "reload restart", 0),
        ("false", "true", {}, "restart", 0),
        ("true", "true", {"RUNNING": "1"}, "restart", 0),
        ("false", "false", {"RUNNING": "1"}, "restart", 0),
        ("false", "true", {"RUNNING": "1", "REFUSED": "1"}, "reload", 1),
        ("true", "true", {"DEAD": "1"}, "restart", 1),
    ],
)
def test_containers_survive_the_restart_that_switches_live_restore_on(
    tmp_path: Path, live: str, desired: str, circumstances: dict[str, str], done: str, rc: int
) -> None:
    for name in ("systemctl", "docker", "journalctl", "sleep"):
        (tmp_path / name).write_text(f"#!/bin/sh\n{RESTART}")
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    (tmp_path / "log.live").write_text(f"{live}\n")
    result = subprocess.run(
        ["bash", str(FILES / "docker/restart.sh"), desired],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "LOG": str(log), **circumstances},
        capture_output=True,
        text=True,
    )
    assert (log.read_text().split(), result.returncode) == (done.split(), rc), result.stderr
    if rc:
        assert "found" in result.stderr


# --- its rules

# As the engine's own tests have it of version 29, for a network with a container that publishes 8080.
NEWER = """
*filter
:DOCKER - [0:0]
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 10.0.0.2/32 ! -i br-a12864ac8bf8 -o br-a12864ac8bf8 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i br-a12864ac8bf8 -o br-a12864ac8bf8 -j DROP
-A DOCKER-BRIDGE -o br-a12864ac8bf8 -j DOCKER
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i br-a12864ac8bf8 -j ACCEPT
*nat
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 10.0.0.0/24 ! -o br-a12864ac8bf8 -j MASQUERADE
-A DOCKER ! -i br-a12864ac8bf8 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80
"""


def with_rules(change: Callable[[str], str]) -> EngineState:
    """The recorded engine, healthy, with its rules changed line by line: an empty one goes."""
    text = "\n".join(recorded("docker-engine.txt"))
    before, _, rest = text.partition("@@rules\n")
    rules, _, after = rest.partition("@@published")
    changed = "\n".join(change(line) for line in rules.splitlines())
    return read_engine(f"{before}@@rules\n{changed}\n@@published{after}".splitlines())


def without(*starts: str) -> Callable[[str], str]:
    return lambda line: "" if line.startswith(starts) else line


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (without(), []),
        # iptables -F
        (
            lambda line: line if line.startswith("-A P") or line.startswith("*") else without("-A")(line),
            [
                "filter: nothing leads to docker0 (bridge)",
                "filter: docker0 (bridge) is not kept apart from other networks",
                "filter: nothing leads to br-a12864ac8bf8 (coolify)",
                "filter: br-a12864ac8bf8 (coolify) is not kept apart from other networks",
                "nat: nothing leads from 9000/tcp to shared-whisper",
                "filter: FORWARD does not keep the networks apart",
            ],
        ),
        (without("-A PREROUTING"), ["nat: PREROUTING does not come to DOCKER"]),
        (without("-A POSTROUTING -s 10.0.0.0/24"), ["nat: no masquerading of 10.0.0.0/24 (coolify)"]),
        (without("-A DOCKER -d 127.0.0.1"), ["nat: nothing leads from 9000/tcp to shared-whisper"]),
        (
            without("-A DOCKER-ISOLATION-STAGE-1 -i docker0"),
            ["filter: docker0 (bridge) is not kept apart from other networks"],
        ),
        (
            lambda line: line.replace(
                "-A FORWARD -j DOCKER-USER", "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT"
            ),
            ["filter: FORWARD lets docker0 out before it keeps the networks apart"],
        ),
        # Somebody else's rule, which a restart of the engine would not move.
        (lambda line: line.replace("-A FORWARD -j DOCKER-USER", "-A FORWARD -i wg0 -j ACCEPT"), []),
    ],
)
def test_what_somebody_flushed_of_the_engines_rules_is_seen(
    change: Callable[[str], str], missing: list[str]
) -> None:
    assert missing_rules(with_rules(change), {}) == missing


def test_rules_of_a_newer_engine_are_known() -> None:
    network = Network("coolify", "bridge", False, "br-a12864ac8bf8", ("10.0.0.0/24",))
    published = (Published("web", "tcp", 8080),)
    engine = replace(ENGINE, networks={"coolify": network}, published=published)
    assert missing_rules(replace(engine, rules=read_tables(NEWER.splitlines())), {}) == []
    assert len(missing_rules(replace(engine, rules={}), {})) == 5


@pytest.mark.parametrize("settings", [{"iptables": False}, {"firewall-backend": "nftables"}])
def test_an_engine_that_keeps_no_rules_misses_none(settings: dict[str, Any]) -> None:
    assert missing_rules(with_rules(without("-A")), settings) == []


def test_what_containers_publish_is_read() -> None:
    lines = [
        "@@published",
        "proxy 0.0.0.0:80->80/tcp, [::]:80->80/tcp, 0.0.0.0:443->443/udp, :::443->443/udp",
        "range 127.0.0.1:9000-9001->90-91/tcp, 8080/tcp",
        "none ",
    ]
    assert [(one.container, one.protocol, one.port) for one in read_engine(lines).published] == [
        ("proxy", "tcp", 80),
        ("proxy", "udp", 443),
        ("range", "tcp", 9000),
        ("range", "tcp", 9001),
    ]


def test_a_network_without_translation_needs_none() -> None:
    options = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    line = json.dumps(
        {
            "name": "n",
            "id": "31a6bc7e045f4711",
            "driver": "bridge",
            "internal": False,
            "options": options,
            "addresses": [{"Subnet": "10.9.0.0/24"}, {"Subnet": "fd00:9::/64"}],
        }
    )
    network = read_engine(["@@networks", line]).networks["n"]
    assert network == Network("n", "bridge", False, "br-31a6bc7e045f")
    masqueraded = read_engine(["@@networks", line.replace('"false"', '"true"')]).networks["n"]
    assert masqueraded.subnets == ("10.9.0.0/24",)


def test_flushed_rules_are_repaired_by_a_restart_or_the_run_fails() -> None:
    flushed = with_rules(without("-A FORWARD"))
    restart, failed = commands(docker.daemon, {Engine: replace(flushed, started=flushed.config_changed)}, {})
    assert restart.script == "docker/restart.sh"
    assert isinstance(failed, FunctionCommand)
    assert "FORWARD does not keep the networks apart" in failed.args[0]


# --- networks


def test_a_network_is_created_once() -> None:
    (create,) = commands(docker.network, {Engine: ENGINE}, "coolify")
    assert str(create) == "docker network create --driver bridge --attachable coolify"
    actual = replace(ENGINE, networks={"coolify": Network("coolify", "bridge")})
    assert commands(docker.network, {Engine: actual}, "coolify") == []


def test_another_network_of_that_name_is_an_error() -> None:
    other = replace(ENGINE, networks={"coolify": Network("coolify", "macvlan", internal=True)})
    with pytest.raises(OperationError, match="found it driver macvlan instead of bridge, internal"):
        commands(docker.network, {Engine: other}, "coolify")


@pytest.mark.parametrize("name", ["", "-f", "a b", "a;b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(OperationValueError):
        commands(docker.network, {Engine: ENGINE}, name)


# --- logins


@pytest.mark.parametrize("registry", ["ghcr.io", "docker.io", "registry.example:5000"])
def test_a_login_travels_on_standard_input(registry: str) -> None:
    hidden = HiddenValue("s3cret value")  # type: ignore[no-untyped-call] # pyinfra's has no types
    (step,) = commands(docker.login, {Engine: ENGINE}, registry, "me", hidden)
    assert isinstance(step, StringCommand)
    assert step.get_raw_value() == f"docker login --username me --password-stdin {registry}"
    assert step.connector_arguments == {"_stdin": ["s3cret value"]}
    key = "https://index.docker.io/v1/" if registry == "docker.io" else registry
    actual = replace(ENGINE, logins={key: auth_sha256("me", "s3cret value")})
    assert commands(docker.login, {Engine: actual}, registry, "me", "s3cret value") == []
    assert len(commands(docker.login, {Engine: actual}, registry, "me", "another")) == 1
    assert len(commands(docker.login, {Engine: actual}, registry, "another", "s3cret value")) == 1


def test_the_hash_is_of_what_docker_keeps() -> None:
    assert auth_sha256("u", "p w") == hashlib.sha256(b"dTpwIHc=").hexdigest()


@pytest.mark.parametrize(
    ("registry", "username", "password"),
    [
        ("https://ghcr.io", "me", "x"),
        ("--help", "me", "x"),
        ("ghcr.io/path", "me", "x"),
        ("ghcr.io", "me:you", "x"),
        ("ghcr.io", "-u", "x"),
        ("ghcr.io", "me", ""),
        ("ghcr.io", "me", "two\nlines-of-it"),
    ],
)
def test_a_login_that_is_none_is_refused(registry: str, username: str, password: str) -> None:
    with pytest.raises(OperationValueError) as error:
        commands(docker.login, {Engine: ENGINE}, registry, username, password)
    assert "lines-of-it" not in str(error.value)


# --- images


def test_missing_images_are_pulled_once() -> None:
    desired = ["redis:7-alpine", "ghcr.io/x/y:v1.9.1-gpu", "redis:7-alpine", "registry.example:5000/z:1"]
    (pull,) = commands(docker.images, {Images: {"ghcr.io/x/y:v1.9.1-gpu": "sha256:1"}}, desired)
    assert str(pull).endswith("docker/pull.sh redis:7-alpine registry.example:5000/z:1")
    assert pull.stream
    assert commands(docker.images, {Images: dict.fromkeys(desired, "sha256:1")}, desired) == []
    assert commands(docker.images, {}, []) == []


@pytest.mark.parametrize("reference", ["redis", "registry.example:5000/z", "--all-tags:1", "redis:", "a b:1"])
def test_an_image_without_a_tag_is_refused(reference: str) -> None:
    with pytest.raises(OperationValueError):
        commands(docker.images, {Images: {}}, [reference])


def test_a_digest_is_a_reference() -> None:
    digest = f"redis@sha256:{'0' * 64}"
    assert commands(docker.images, {Images: {digest: "sha256:1"}}, [digest]) == []

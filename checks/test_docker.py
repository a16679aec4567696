"""The engine as it really runs, and its networks (requirements 11.2 and 11.5)."""

from __future__ import annotations

import pytest

from blueprint import contents
from blueprint.applied import Applied
from blueprint.stacks import private_network
from checks.containers import docker
from checks.expect import expect, no_problems
from checks.server import Server
from facts.docker import Engine
from operations import docker as operation

pytestmark = pytest.mark.hardware

RESTART = "run --data phase=hardware again: it writes the file and restarts the engine"


def test_settings_are_in_the_file(server: Server) -> None:
    """daemon.json has every declared setting; what others added stays theirs."""
    settings = operation.read_config(server.fact(Engine, parts=operation.ENGINE_PARTS).config)
    declared = contents.docker_daemon(server.blueprint)
    expect("daemon.json", operation.merge(settings, declared), settings, RESTART)


def test_engine_runs_with_the_file(server: Server) -> None:
    """The daemon was started or reloaded after its file was last changed."""
    expect(
        "restart needed",
        operation.restart_needed(server.fact(Engine, parts=operation.ENGINE_PARTS)),
        False,
        RESTART,
    )


def test_engine_runs_with_the_settings(server: Server) -> None:
    """Storage, logs, live restore, address pools and the cards' runtime are in force, whatever the file says."""
    blueprint, engine = server.blueprint, docker(server)["engine"]
    found = {
        "storage": engine["Driver"],
        "logs": engine["LoggingDriver"],
        "live restore": engine["LiveRestoreEnabled"],
        "runtime nvidia": engine["Runtimes"].get("nvidia", {}).get("path"),
        "address pools": [(one["Base"], one["Size"]) for one in engine.get("DefaultAddressPools") or ()],
    }
    expected = {
        "storage": blueprint.docker.storage_driver,
        "logs": "json-file",
        "live restore": blueprint.docker.live_restore,
        "runtime nvidia": "nvidia-container-runtime",
        "address pools": [(blueprint.docker.address_pool, blueprint.docker.address_pool_size)],
    }
    expect("docker info", found, expected, RESTART)


def test_engine_is_new_enough(server: Server) -> None:
    """Engine and Compose are at least the declared versions: older ones ignore `start_interval`."""
    blueprint = server.blueprint
    engine = server.fact(Engine)
    no_problems(operation.problems(engine, blueprint.docker_minimum, blueprint.compose_minimum))


def test_networks_are_there(server: Server, applied: Applied) -> None:
    """The common network lets containers out, a stack's private one does not."""
    expected = {server.blueprint.coolify_network: False}
    expected |= {private_network(stack.name): True for stack in applied.stacks if stack.private}
    networks = docker(server)["networks"]
    found = {name: networks[name]["internal"] if name in networks else "missing" for name in expected}
    expect("networks, and whether they are internal", found, expected, "run the deploy again")


def test_engine_s_own_rules_are_there(server: Server) -> None:
    """Docker's rules of iptables are in force: without them containers reach nothing, or everything."""
    engine = server.fact(Engine, parts=operation.ENGINE_PARTS)
    missing = operation.missing_rules(engine, operation.read_config(engine.config))
    expect("Docker's rules", missing, [], "systemctl restart docker")

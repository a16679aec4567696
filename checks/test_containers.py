"""Every container as it runs: what it is made from, its limits, its rights, its networks, its health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from blueprint.applied import Applied
from blueprint.model import Service
from checks import containers
from checks.containers import definition, docker, stack_of
from checks.expect import expect, fail
from checks.server import Server
from facts.stacks import normalized_reference
from specs import stacks
from specs.problems import Problem
from specs.stacks import DIGEST

RECREATE = "run the deploy again: it recreates the container"


@pytest.fixture
def container(server: Server, service: Service) -> dict[str, Any]:
    """The container of a service."""
    found = docker(server)["containers"].get(service.name)
    if found is None:
        fail(
            [
                Problem(
                    f"container {service.name}", "missing", "running", "docker events; run the deploy again"
                )
            ]
        )
    return dict(found)


@pytest.mark.checklist("4.5", "5.5", "6.4")
def test_container_is_healthy(server: Server, container: dict[str, Any], service: Service) -> None:
    """It runs and its health check succeeds: Docker restarts what ends, and nothing restarts what hangs."""
    states = server.settled(
        lambda: docker(server)["containers"].get(service.name, {}),
        lambda one: one.get("health") == "starting",
    )
    found = f"{states['status']}, {states['health'] or 'without health'}"
    if found != "running, healthy":
        found += f", exit code {states['exit_code']}, out of memory: {states['oom_killed']}"
        found += f"\n{states['health_output']}"
    expect(f"container {service.name}", found, "running, healthy", f"docker logs --tail 50 {service.name}")


def test_container_has_the_pinned_image(server: Server, container: dict[str, Any], service: Service) -> None:
    """It was made from the declared reference, and the host's image of that name is still the one it runs."""
    image = docker(server)["images"].get(container["image_id"], {"tags": [], "digests": []})
    names = {normalized_reference(name) for name in (*image["tags"], *image["digests"])}
    found = (container["image"], normalized_reference(service.image) in names)
    expect(f"image of {service.name}", found, (service.image, True), RECREATE)


@pytest.mark.checklist("F.13")
def test_container_has_its_limits(server: Server, container: dict[str, Any], service: Service) -> None:
    """Memory, swap, processors and processes are limited as declared, so that it cannot take those of others.

    And Docker starts it again after a crash and a reboot.
    """
    limits = asdict(stacks.limits(definition(server, service)))
    found = {key: container[key] for key in limits}
    # Where nothing is limited (0, -1), the kernel may lack that kind, and a run leaves it alone.
    remedy = f"{RECREATE}, but for 0 and -1: does `docker info` warn? docker rm -f {service.name}, its volumes stay"
    expect(f"limits of {service.name}", found, limits, remedy)


def test_container_has_few_rights(server: Server, container: dict[str, Any], service: Service) -> None:
    """No new privileges, the declared capabilities, a root file system that is read-only unless declared, its card."""
    rights = containers.security(definition(server, service))
    found = {key: container[key] for key in rights} | {"cap_add": sorted(container["cap_add"])}
    expect(f"rights of {service.name}", found, rights, RECREATE)


def test_container_has_its_user(container: dict[str, Any], service: Service) -> None:
    """Its processes run as the declared user, otherwise as that of its image, and as root only with a reason."""
    user = container["user"]
    if service.user is not None:
        expect(f"user of {service.name}", user, service.user, RECREATE)
    elif not service.root:
        root = user.partition(":")[0] in ("", "0", "root")
        expect(
            f"{service.name} runs as root ({user or 'by default'})",
            root,
            False,
            "declare `user` or `root`",
        )


def test_container_has_its_networks(server: Server, container: dict[str, Any], service: Service) -> None:
    """It is on its networks under its names, and on no other."""
    expected = containers.networks(service, definition(server, service))
    remedy = f"docker network disconnect NETWORK {service.name}, or run the deploy again where one is missing"
    expect(f"networks of {service.name}", container["networks"], expected, remedy)


def test_container_publishes_its_ports_only(
    server: Server, container: dict[str, Any], service: Service
) -> None:
    """The host's ports that lead to it are the declared ones, on the declared addresses."""
    expect(
        f"ports of {service.name}",
        container["ports"],
        containers.ports(definition(server, service)),
        RECREATE,
    )


def test_container_mounts_its_data_only(server: Server, container: dict[str, Any], service: Service) -> None:
    """Its volumes and files are mounted where declared, files of the host read-only; anonymous volumes aside."""
    expected = containers.mounts(stack_of(server, service), definition(server, service))
    targets = {one["target"] for one in expected}
    found = [
        one
        for one in container["mounts"]
        if one["target"] in targets or one["type"] != "volume" or len(one["source"]) != 64
    ]
    found = sorted(({**one} for one in found if one["type"] != "tmpfs"), key=lambda one: str(one["target"]))
    expect(f"mounts of {service.name}", found, expected, RECREATE)


def test_container_has_its_variables(container: dict[str, Any], service: Service) -> None:
    """Its plain variables have the declared values, and the secret ones are there and not empty."""
    expected: dict[str, object] = {name: str(value) for name, value in service.env.items()}
    expected |= dict.fromkeys((*service.generated_secrets, *service.provided_secrets), True)
    found = {name: container["variables"].get(name, "missing") for name in expected}
    expect(f"variables of {service.name}", found, expected, RECREATE)


def test_container_s_health_is_asked(server: Server, container: dict[str, Any], service: Service) -> None:
    """The engine asks it for its health by the declared command, as often as declared."""
    expected = containers.healthcheck(definition(server, service))
    expect(f"health check of {service.name}", container["healthcheck"], expected, RECREATE)


def test_container_s_log_is_limited(server: Server, container: dict[str, Any], service: Service) -> None:
    """Its log is rotated by the engine, so that it cannot fill the disk."""
    log = definition(server, service)["logging"]
    expected = {"Type": log["driver"], "Config": log["options"]}
    expect(f"log of {service.name}", container["log"], expected, RECREATE)


def test_container_is_of_a_run(container: dict[str, Any], service: Service) -> None:
    """It was made by a run, which labels it with a digest of all that it was made from."""
    expect(f"label of {service.name}", bool(container["labels"].get(DIGEST)), True, RECREATE)


@pytest.mark.hardware
def test_no_other_container_is_privileged(server: Server, applied: Applied) -> None:
    """No container beside the declared ones has the host's rights, unless Coolify manages it."""
    declared = {service.name for service in applied.services}
    privileged = [
        name
        for name, one in docker(server)["containers"].items()
        if one["privileged"] and name not in declared and one["labels"].get("coolify.managed") != "true"
    ]
    expect("privileged containers", privileged, [], "who made it? docker inspect NAME")


@pytest.mark.hardware
def test_whisper_has_its_card_and_limits(server: Server) -> None:
    """The shared recogniser runs healthily on its own card, within its memory and without rights (requirements 4.5)."""
    whisper = server.blueprint.whisper
    expected = {
        "status": "running",
        "health": "healthy",
        "memory": whisper.memory_mib * containers.MIB,
        "pids": whisper.pids,
        "privileged": False,
        "security": ["no-new-privileges"],
        "cap_drop": ["ALL"],
        "cap_add": [],
        "devices": [[server.uuids[whisper.gpu]]],
        "image": whisper.image,
    }
    container = server.settled(
        lambda: docker(server)["containers"].get(whisper.name, {}),
        lambda one: one.get("health") == "starting",
    )
    found = {key: container.get(key) for key in expected}
    expect(whisper.name, found, expected, f"systemctl status {whisper.unit}; journalctl -u {whisper.unit}")

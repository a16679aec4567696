"""The container engine, its settings and the network of the platform (requirements 11.2, 11.3 and 11.5)."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Blueprint, Secrets, contents
from blueprint.model import System
from operations import apt, systemd
from operations import docker as engine
from operations.apt import Package
from operations.systemd import Unit

# An engine from Docker's own repository, which Coolify's installer uses, is kept.
VENDOR_ENGINE = ("docker-ce",)
REGISTRY_USER, REGISTRY_PASSWORD = "registry/user", "registry/password"


@deploy("Docker")
def docker(blueprint: Blueprint, system: System, secrets: Secrets) -> None:
    """Engine with Compose, its settings, the network `coolify`, and a login to the owner's registry if there is one."""
    apt.packages(
        name="Docker engine and Compose",
        present=[Package(package, unless=VENDOR_ENGINE) for package in system.docker],
        no_recommends=True,
    )
    engine.daemon(name="Settings of the engine", settings=contents.docker_daemon(blueprint))
    systemd.units(name="Docker", units=[Unit("docker.service")])
    engine.network(name=f"Network {blueprint.coolify_network}", network=blueprint.coolify_network)
    if secrets.has(REGISTRY_PASSWORD):
        engine.login(
            name=f"Login to {blueprint.registry}",
            registry=blueprint.registry,
            username=secrets.provided(REGISTRY_USER),
            password=secrets.provided(REGISTRY_PASSWORD),
        )

"""The ports that are open (requirements 11.6)."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Blueprint
from operations import firewall as host_firewall
from operations.firewall import Ruleset


@deploy("Firewall")
def firewall(blueprint: Blueprint) -> None:
    """Open SSH and the web to the world, and to containers the web and Ollama."""
    rules = ruleset(blueprint)
    host_firewall.apply(name="Open ports", tcp=rules.tcp, udp=rules.udp, internal_tcp=rules.internal_tcp)


def ruleset(blueprint: Blueprint) -> Ruleset:
    """The declared ports."""
    return Ruleset(blueprint.open_tcp_ports, blueprint.open_udp_ports, blueprint.internal_tcp_ports)

"""What the world may reach (requirements 11.6)."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Blueprint
from operations import firewall as host_firewall
from operations.firewall import Ruleset


@deploy("Firewall")
def firewall(blueprint: Blueprint) -> None:
    """From outside SSH and the web; from containers the web and Ollama."""
    wanted = ruleset(blueprint)
    host_firewall.apply(name="Open ports", tcp=wanted.tcp, udp=wanted.udp, internal_tcp=wanted.internal_tcp)


def ruleset(blueprint: Blueprint) -> Ruleset:
    """What is let in."""
    return Ruleset(blueprint.open_tcp_ports, blueprint.open_udp_ports, blueprint.internal_tcp_ports)

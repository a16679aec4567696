"""The ports that are open (requirements 11.6)."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.deploy import deploy

from blueprint import Blueprint
from facts.cache import cached_fact
from facts.firewall import Firewall
from operations import firewall as host_firewall
from operations.firewall import CHAINS, Ruleset
from specs.problems import Problem


@deploy("Firewall")
def firewall(blueprint: Blueprint) -> None:
    """Open SSH and the web to the world, and to containers the web and Ollama."""
    rules = ruleset(blueprint)
    host_firewall.apply(name="Open ports", tcp=rules.tcp, udp=rules.udp, internal_tcp=rules.internal_tcp)


def ruleset(blueprint: Blueprint) -> Ruleset:
    """The declared ports."""
    return Ruleset(blueprint.open_tcp_ports, blueprint.open_udp_ports, blueprint.internal_tcp_ports)


def firewall_problems(blueprint: Blueprint) -> Iterator[Problem]:
    """A problem where the declared ports would lock out the person who runs this."""
    yield from host_firewall.lockout(ruleset(blueprint), cached_fact(Firewall, chains=CHAINS))

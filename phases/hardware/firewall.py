"""What the world may reach (the notes' section 11.6)."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Blueprint
from operations import firewall as host_firewall


@deploy("Firewall")
def firewall(plan: Blueprint) -> None:
    """From outside SSH and the web; from containers the web and Ollama."""
    host_firewall.apply(
        name="Open ports",
        tcp=plan.open_tcp_ports,
        udp=plan.open_udp_ports,
        internal_tcp=plan.internal_tcp_ports,
    )

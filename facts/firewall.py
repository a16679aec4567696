"""What a host's firewall does now, and through which ports SSH is reached."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script

Tables = Mapping[tuple[str, str], tuple[str, ...]]  # rules by table and chain, as iptables-save prints them

LOOPBACK = re.compile(r"127\.|\[::1\]|\[::ffff:127\.")


@dataclass(frozen=True)
class FirewallState:
    """Answer of `Firewall`."""

    ipv4: Tables = field(default_factory=dict)
    ipv6: Tables | None = None  # None: IPv6 is off
    session_port: int | None = None  # of the host, through which this very session came
    sshd_ports: frozenset[int] = frozenset()  # on which SSH is waited for, but for those on loopback only
    stale: bool = False  # systemd has not yet read docker.service as it is on the disk
    trial: bool = False  # the live rules are about to be undone


class Firewall(FactBase[FirewallState]):
    """The rules of named chains, of IPv4 and IPv6, and the ports of SSH, in one question.

    :param chains: names of the chains to report, in whatever table they are
    """

    def command(self, chains: Iterable[str]) -> StringCommand:
        """The script and its arguments."""
        return script.command("firewall.sh", *chains)

    @staticmethod
    def default() -> FirewallState:
        """No firewall."""
        return FirewallState()

    def process(self, output: list[str]) -> FirewallState:
        """Read the answer of `command`."""
        return read_firewall(output)


def read_firewall(output: Iterable[str]) -> FirewallState:
    """Read what files/facts/firewall.sh prints."""
    answers = dict(script.sections(output))
    session = next((port for port in answers.get("session", ()) if port), None)
    return FirewallState(
        ipv4=read_tables(answers.get("ipv4", ())),
        ipv6=read_tables(answers["ipv6"]) if "ipv6" in answers else None,
        session_port=int(session) if session else None,
        sshd_ports=frozenset(
            int(address.rpartition(":")[2])
            for address in answers.get("listen", ())
            if address and not LOOPBACK.match(address)
        ),
        stale="yes" in answers.get("stale", ()),
        trial="yes" in answers.get("trial", ()),
    )


def read_tables(lines: Iterable[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Rules by table and chain, of the form that iptables-save prints and iptables-restore reads.

    Counters, comments and policies are left out. A chain that is there without rules is an empty tuple.
    """
    chains: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in lines:
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            chains.setdefault((table, line[1:].split()[0]), [])
        elif line.startswith("-A "):
            _, chain, rule = line.strip().split(" ", 2)
            chains.setdefault((table, chain), []).append(rule)
    return {key: tuple(rules) for key, rules in chains.items()}

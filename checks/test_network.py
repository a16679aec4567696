"""What listens, what the firewall lets through, who logs in, and the certificates (requirements 11.2 and 11.6)."""

from __future__ import annotations

import pytest

from blueprint.applied import Applied
from checks.containers import docker
from checks.expect import expect
from checks.server import Server
from checks.system import system
from facts.firewall import Firewall
from facts.sshd import Sshd
from operations import firewall
from phases.hardware.firewall import ruleset
from phases.hardware.ssh import PATH, SETTINGS

pytestmark = pytest.mark.hardware

# Programs of a distribution that listen on a network card by themselves, behind the firewall: DHCP, time, names.
SYSTEM = frozenset(
    {
        "systemd-network",
        "systemd-resolve",
        "systemd-timesyn",
        "dhclient",
        "dhcpcd",
        "chronyd",
        "ntpd",
        "avahi-daemon",
    }
)
# The engine's parts speak to each other on a loopback port that changes.
ENGINE = frozenset({"containerd", "dockerd"})
CERTIFICATE_DAYS = 14
DAY_S = 86400


def test_listening_sockets(server: Server, applied: Applied) -> None:
    """Exactly the declared ports are listened on: every other one is a program that somebody forgot."""
    blueprint = server.blueprint
    sshd_ports = server.fact(Firewall, chains=firewall.CHAINS).sshd_ports
    found = {
        (protocol, _scope(address), port)
        for protocol, address, port, program in system(server)["sockets"]
        if program not in SYSTEM
        and port not in sshd_ports  # wherever the owner has it listen
        and not (_scope(address) == "loopback" and (protocol == "udp" or program in ENGINE))
    }
    expected: set[tuple[str, str, int]] = set()
    for one in blueprint.ollama_instances:  # itself, and the filter for containers on the engine's bridge
        expected |= {("tcp", "loopback", one.port), ("tcp", "one address", one.port)}
    expected.add(("tcp", "loopback", blueprint.whisper.port))
    for service in applied.services:
        expected |= {("tcp", "any", port) for port in service.public}
        expected |= {("udp", "any", port) for port in service.public_udp}
        if service.publish:
            expected.add(("tcp", "loopback", service.publish))
    declared = {service.name for service in applied.services}
    expected |= _published(server, declared)
    expect("listening sockets", found, expected, "ss -lntup; stop what listens, or declare it")


def _scope(address: str) -> str:
    if address in ("0.0.0.0", "::", "*"):  # noqa: S104 - compared, not bound
        return "any"
    return (
        "loopback" if address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1") else "one address"
    )


def _published(server: Server, declared: set[str]) -> set[tuple[str, str, int]]:
    """Sockets of Coolify's own containers, which are neither ours to declare nor to stop."""
    found = set()
    for name, one in docker(server)["containers"].items():
        if name not in declared and (
            one["labels"].get("coolify.managed") == "true" or name.partition("-")[0] == "coolify"
        ):
            for inside, outside in one["ports"].items():
                for address in outside:
                    ip, _, port = address.rpartition(":")
                    found.add((inside.partition("/")[2], _scope(ip or "*"), int(port)))
    return found


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_firewall_is_as_declared(server: Server, family: str) -> None:
    """The live rules of the family are the declared ones whole, and are reached before any other rule accepts."""
    state = server.fact(Firewall, chains=firewall.CHAINS)
    if family == "v6" and state.ipv6 is None:
        # ip6tables has no tables to compare, and nothing reaches the host over IPv6.
        pytest.skip("the host has no IPv6")
    label = {"v4": "IPv4", "v6": "IPv6"}[family]
    reasons = [
        reason for reason in firewall.difference(ruleset(server.blueprint), state) if reason.startswith(label)
    ]
    expect("firewall", reasons, [], "systemctl start host-firewall-repair; run --data phase=hardware")


def test_firewall_is_not_on_trial(server: Server) -> None:
    """No interrupted run has left rules that are about to be undone, or units that systemd has not read."""
    state = server.fact(Firewall, chains=firewall.CHAINS)
    expect("on trial, stale", (state.trial, state.stale), (False, False), "run --data phase=hardware again")


def test_ssh_takes_keys_only(server: Server) -> None:
    """sshd really runs with our settings, and nobody set others: no passwords, no forwarding of displays and agents."""
    effective = server.fact(Sshd, path=PATH).effective
    found = {one.keyword: effective.get(one.keyword.lower()) for one in SETTINGS}
    wrong = {one.keyword: one.value for one in SETTINGS if not one.accepts(found[one.keyword])}
    remedy = "sshd -T shows what holds; a line of others comes first, remove it"
    expect("sshd for everybody", {keyword: found[keyword] for keyword in wrong}, wrong, remedy)


def test_ssh_s_settings_are_not_on_trial(server: Server) -> None:
    """No interrupted run has left settings that are about to be undone."""
    expect("on trial", server.fact(Sshd, path=PATH).trial, False, "run --data phase=hardware again")


@pytest.mark.litellm
def test_certificates_are_valid(server: Server) -> None:
    """Every public domain is served with a valid certificate that lasts: a renewal that fails shows weeks before."""
    found = {
        domain: "valid" if isinstance(rest, float) and rest > CERTIFICATE_DAYS * DAY_S else rest
        for domain, rest in system(server)["certificates"].items()
    }
    remedy = "docker logs of the proxy; does the domain lead here, is port 80 open?"
    expect("certificates", found, dict.fromkeys(found, "valid"), remedy)


def test_clock_is_synchronised(server: Server) -> None:
    """The clock is set over the network: certificates, tokens and backups go by it."""
    if system(server)["container"] != "none":
        # It cannot set the clock, and timedatectl says "no" whatever the time is.
        pytest.skip("a container has its host's clock")
    expect(
        "NTPSynchronized",
        system(server)["time_synchronised"],
        ["yes"],
        "timedatectl; systemctl status systemd-timesyncd",
    )

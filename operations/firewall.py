"""The firewall of a host that runs containers: from outside, a few ports and nothing else.

`files/firewall/host-firewall` says which chains it uses and why; `templates/firewall/rules.j2` is the rules.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError, OperationError, OperationValueError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import host

from facts.firewall import Firewall, FirewallState, Tables, read_tables
from facts.kept import ask
from operations.files import Directory, Entry, File, tree
from operations.systemd import Unit, units

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = "/usr/local/sbin/host-firewall"
RULES = "/etc/host-firewall"
CANDIDATE = "/run/host-firewall/candidate"
UNIT = "host-firewall.service"
# Seconds; several times what a new SSH connection may take (10, pyinfra's CONNECT_TIMEOUT).
CONFIRM_WITHIN = 60

# Table, chain, chain it comes to: the jumps that files/firewall/host-firewall makes.
IPV4_JUMPS = (
    ("filter", "INPUT", "HOST-INPUT"),
    ("filter", "FORWARD", "DOCKER-USER"),
    ("filter", "DOCKER-USER", "HOST-FORWARD"),
)
IPV6_JUMPS = (
    ("filter", "INPUT", "HOST-INPUT"),
    ("mangle", "FORWARD", "HOST-FORWARD"),
)
# Interfaces of the containers' networks; `+` at the end stands for anything.
INTERFACES = ("docker0", "br-+")
CHAINS = ("HOST-INPUT", "HOST-FORWARD", "INPUT", "FORWARD", "DOCKER-USER")


@dataclass(frozen=True)
class Ruleset:
    """What is let in.

    + tcp, udp: ports of the host, and published ports of its containers, that anyone may reach
    + internal_tcp: ports of the host that only its containers may reach
    """

    tcp: tuple[int, ...]
    udp: tuple[int, ...] = ()
    internal_tcp: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for kind in ("tcp", "udp", "internal_tcp"):
            ports = getattr(self, kind)
            for port in ports:
                if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
                    raise OperationValueError(f"{kind}: {port!r} is not a port; wanted 1 to 65535")
            if len(set(ports)) < len(ports):
                raise OperationValueError(f"{kind}: a port is named twice in {ports}")

    def render(self, family: str) -> str:
        """Text of the rule file, for iptables-restore. + family: `v4` or `v6`"""
        environment = Environment(
            loader=FileSystemLoader(ROOT / "templates/firewall"),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # noqa: S701 - not HTML
        )
        return environment.get_template("rules.j2").render(
            family=family,
            tcp=self.tcp,
            udp=self.udp,
            internal_tcp=self.internal_tcp,
            interfaces=INTERFACES,
        )


def lockout(ruleset: Ruleset, state: FirewallState) -> str | None:
    """Why these rules would lock us out, or None when they would not."""
    session_ports = {state.session_port} if state.session_port else set()
    closed = sorted((state.sshd_ports | session_ports) - set(ruleset.tcp))
    if not closed:
        return None
    session = f", this session came through {state.session_port}" if state.session_port else ""
    return (
        f"found SSH on port {', '.join(map(str, closed))}{session}; wanted it among the open TCP ports "
        f"{', '.join(map(str, ruleset.tcp)) or '(none)'}, or nobody could log in any more: add it to them, or let "
        "sshd listen on one of them"
    )


def difference(ruleset: Ruleset, state: FirewallState) -> list[str]:
    """In which ways the live rules are not those of `ruleset`, in words; empty when they are."""
    reasons = _family_difference("IPv4", ruleset.render("v4"), IPV4_JUMPS, state.ipv4)
    if state.ipv6 is not None:
        reasons += _family_difference("IPv6", ruleset.render("v6"), IPV6_JUMPS, state.ipv6)
    return reasons


def _family_difference(
    family: str, wanted: str, jumps: Iterable[tuple[str, str, str]], live: Tables
) -> list[str]:
    reasons = []
    for (table, chain), rules in read_tables(wanted.splitlines()).items():
        found = live.get((table, chain))
        if found is None:
            reasons.append(f"{family}: there is no chain {chain}")
        elif found != rules:
            lines = difflib.unified_diff(found, rules, "live", "wanted", lineterm="", n=0)
            reasons.append("\n    ".join([f"{family}: {chain} has other rules", *list(lines)[2:]]))
    for table, chain, ours in jumps:
        if not _reached(live.get((table, chain), ()), f"-j {ours}"):
            reasons.append(f"{family}: {chain} does not come to {ours}")
    return reasons


def _reached(rules: Iterable[str], jump: str) -> bool:
    """Whether a chain comes to a jump before any of its rules accepts or leaves, as the script looks at it."""
    for rule in rules:
        if rule == jump:
            return True
        if re.search(r"-j (ACCEPT|RETURN)$", rule):
            return False
    return False


class OverNewConnection(StringCommand):
    """A command sent over a connection of its own, through the whole of TCP, SSH and login.

    The connection that the run uses is an established one, which the firewall lets pass whatever its rules are.
    """

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        """Connect as pyinfra did for this host (address, keys, jump hosts), run the command, hang up."""
        connector_arguments.update(self.connector_arguments)
        connection = type(host.connector)(state, host)
        try:
            connection.connect()
            return connection.run_shell_command(
                self, print_output=state.print_output, print_input=state.print_input, **connector_arguments
            )
        except (ConnectError, SSHException, OSError, EOFError) as error:
            host.log_styled(
                f"found no new SSH connection to this host possible with the new firewall rules ({error}); "
                "wanted one to confirm them. The former rules come back now, or within "
                f"{CONFIRM_WITHIN} seconds if this session cannot see to it. Look whether the address and port that "
                "SSH uses from here reach the host directly, and whether its tcp ports are among the open ones",
                fg="red",
                log_func=logger.error,
            )
            host.run_shell_command(StringCommand(SCRIPT, "rollback"), **connector_arguments)
            return False, CommandOutput([])
        finally:
            connection.disconnect()


def candidate(ruleset: Ruleset) -> list[Entry]:
    """What has to be on the host to try rules: nothing of it is there after a reboot but the script."""
    return [
        Directory("/run/host-firewall", mode="0700"),
        Directory(CANDIDATE, mode="0700"),
        _script(),
        *(File(f"{CANDIDATE}/rules.{family}", ruleset.render(family)) for family in ("v4", "v6")),
    ]


def installed(ruleset: Ruleset) -> list[Entry]:
    """What makes rules survive a reboot and a restart of Docker."""
    return [
        Directory(RULES),
        Directory("/etc/systemd/system/docker.service.d"),
        _script(),
        *(File(f"{RULES}/rules.{family}", ruleset.render(family)) for family in ("v4", "v6")),
        File(f"/etc/systemd/system/{UNIT}", _read("host-firewall.service")),
        File("/etc/systemd/system/docker.service.d/host-firewall.conf", _read("docker.conf")),
    ]


def _script() -> File:
    return File(SCRIPT, _read("host-firewall"), mode="0755")


def _read(name: str) -> str:
    return (ROOT / "files/firewall" / name).read_text()


@operation()
def apply(
    tcp: Sequence[int], udp: Sequence[int] = (), internal_tcp: Sequence[int] = ()
) -> Generator[StringCommand, None, None]:
    """Let in from outside what is named, drop the rest; IPv4 and IPv6, the host and its published containers.

    Outside is every interface but the containers' and loopback. The rules hold from the boot on, before there
    is a network, and over restarts of Docker. Rules of others in other chains are left as they are.

    New rules are tried first: if no new SSH connection confirms them, the former ones come back by
    themselves and nothing is installed. Rules that do not accept the port of SSH are refused before anything
    is changed.

    + tcp, udp: open ports; a published container port counts by the port that is asked for
    + internal_tcp: ports of the host that containers may reach

    **Example:**

    .. code:: python

        firewall.apply(name="Firewall", tcp=(22, 80, 443), udp=(443,), internal_tcp=(11434,))
    """
    ruleset = Ruleset(tuple(tcp), tuple(udp), tuple(internal_tcp))
    live = ask(Firewall, chains=CHAINS)
    if reason := lockout(ruleset, live):
        raise OperationError(reason)
    if reasons := difference(ruleset, live):
        for reason in reasons:
            host.log(reason)
        yield from tree._inner(entries=candidate(ruleset))
        yield StringCommand(SCRIPT, "try", CANDIDATE, str(CONFIRM_WITHIN))
        yield OverNewConnection(SCRIPT, "keep")
    installing = list(tree._inner(entries=installed(ruleset)))
    yield from installing
    if installing or live.stale:
        # Not `Unit("docker.service")`, for which a new drop-in is a reason to restart it: this one matters at its next
        # start. And only where systemd needs it: containers with a GPU can lose it in a reload.
        stale = '[ "$(systemctl show -P NeedDaemonReload docker.service)" = yes ]'
        yield StringCommand(f"if {stale}; then systemctl daemon-reload; fi")
    files = (SCRIPT, f"{RULES}/rules.v4", f"{RULES}/rules.v6")
    yield from units._inner(units=[Unit(UNIT, restart_on=files)])

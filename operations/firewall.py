"""The firewall of a host that runs containers: from outside, a few ports and nothing else.

`files/firewall/host-firewall` says which chains it uses and why; `templates/firewall/rules.j2` is the rules. They are
loaded early in the boot, around each start of Docker, and every minute where somebody flushed them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.cache import cached_fact
from facts.firewall import Firewall, FirewallState, Tables, read_tables
from operations.files import tree
from operations.systemd import Unit, units
from operations.trial import CONFIRM_WITHIN, OverNewConnection
from specs.files import Directory, Entry, File
from specs.problems import Problem

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = "/usr/local/sbin/host-firewall"
RULES = "/etc/host-firewall"
CANDIDATE = "/run/host-firewall/candidate"
UNIT = "host-firewall.service"
REPAIR, TIMER = "host-firewall-repair.service", "host-firewall-repair.timer"

# Table, chain, chain it comes to: the jumps that files/firewall/host-firewall makes, in both families.
JUMPS = (
    ("mangle", "INPUT", "HOST-INPUT"),
    ("mangle", "FORWARD", "HOST-FORWARD"),
)
# Interfaces of the containers' networks; `+` at the end stands for anything.
INTERFACES = ("docker0", "br-+")
OURS = ("HOST-INPUT", "HOST-CONTAINERS", "HOST-FORWARD")
CHAINS = (*OURS, "INPUT", "FORWARD")
# Addresses that mean "on this link" and those of groups, by family (RFC 6890).
LINK_LOCAL = {"v4": ("169.254.0.0/16", "224.0.0.0/4"), "v6": ("fe80::/10", "ff00::/8")}


@dataclass(frozen=True)
class Ruleset:
    """The ports that are open.

    :param tcp: ports of the host, and published ports of its containers, that anyone may reach
    :param udp: likewise
    :param internal_tcp: the only ports of the host that its containers may reach, under any of its addresses
    """

    tcp: tuple[int, ...]
    udp: tuple[int, ...] = ()
    internal_tcp: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for kind in ("tcp", "udp", "internal_tcp"):
            ports = getattr(self, kind)
            for port in ports:
                if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
                    raise OperationValueError(f"{kind}: {port!r} is not a port; expected 1 to 65535")
            if len(set(ports)) < len(ports):
                raise OperationValueError(f"{kind}: a port is named twice in {ports}")

    def render(self, family: str) -> str:
        """Text of the rule file, for iptables-restore. + family: `v4` or `v6`"""
        return _render(
            "rules.j2",
            family=family,
            tcp=self.tcp,
            udp=self.udp,
            internal_tcp=self.internal_tcp,
            interfaces=INTERFACES,
            link_local=LINK_LOCAL[family],
        )


def lockout(ruleset: Ruleset, state: FirewallState) -> Iterator[Problem]:
    """A problem where these rules would close SSH. What counts is the host's own port, not one that NAT forwards."""
    session_ports = {state.session_port} if state.session_port else set()
    closed = sorted((state.sshd_ports | session_ports) - set(ruleset.tcp))
    if closed:
        session = f"; this session came through {state.session_port}" if state.session_port else ""
        ports = ", ".join(map(str, ruleset.tcp)) or "(none)"
        yield Problem(
            "port of SSH",
            f"SSH on port {', '.join(map(str, closed))}{session}",
            f"it among the open TCP ports {ports}, or nobody could log in any more",
            "add it to the open TCP ports, or let sshd listen on one of them",
        )


def difference(ruleset: Ruleset, state: FirewallState) -> list[str]:
    """The differences between the live rules and `ruleset`, in words; none where they agree."""
    reasons = ["they are on trial since a run that was interrupted"] if state.trial else []
    reasons += _family_difference("IPv4", ruleset.render("v4"), state.ipv4)
    if state.ipv6 is not None:
        reasons += _family_difference("IPv6", ruleset.render("v6"), state.ipv6)
    return reasons


def _family_difference(family: str, desired: str, live: Tables) -> list[str]:
    reasons = []
    for (table, chain), rules in read_tables(desired.splitlines()).items():
        found = live.get((table, chain))
        if found is None:
            reasons.append(f"{family}: there is no chain {chain}")
        elif found != rules:
            lines = difflib.unified_diff(found, rules, "live", "expected", lineterm="", n=0)
            reasons.append("\n    ".join([f"{family}: {chain} has other rules", *list(lines)[2:]]))
    # Earlier versions had them in the table in which Docker inserts its own.
    reasons += [
        f"{family}: {chain} is in filter" for table, chain in live if table == "filter" and chain in OURS
    ]
    for table, chain, ours in JUMPS:
        if not _reached(live.get((table, chain), ()), f"-j {ours}"):
            reasons.append(f"{family}: {chain} does not come to {ours}")
    return reasons


def _reached(rules: Iterable[str], jump: str) -> bool:
    """Whether a chain reaches a jump before any of its rules accepts or returns, as the script sees it."""
    for rule in rules:
        if rule == jump:
            return True
        if re.search(r"-j (ACCEPT|RETURN)$", rule):
            return False
    return False


KEEP = OverNewConnection(
    SCRIPT,
    "keep",
    rollback=StringCommand(SCRIPT, "rollback"),
    tried="firewall rules",
    advice=(
        "Look whether the address and port that SSH uses from here reach the host directly, and whether its tcp ports "
        "are among the open ones"
    ),
)


def candidate(ruleset: Ruleset) -> list[Entry]:
    """The files that a trial of rules needs. After a reboot only the script is left of them."""
    return [
        Directory("/run/host-firewall", mode="0700"),
        Directory(CANDIDATE, mode="0700"),
        _script(),
        *(File(f"{CANDIDATE}/rules.{family}", ruleset.render(family)) for family in ("v4", "v6")),
    ]


def installed(ruleset: Ruleset) -> list[Entry]:
    """The files that make rules survive a reboot and a restart of Docker."""
    return [
        Directory(RULES),
        Directory("/etc/systemd/system/docker.service.d"),
        _script(),
        *(File(f"{RULES}/rules.{family}", ruleset.render(family)) for family in ("v4", "v6")),
        File(f"/etc/systemd/system/{UNIT}", _render("host-firewall.service.j2", repair=False)),
        File(f"/etc/systemd/system/{REPAIR}", _render("host-firewall.service.j2", repair=True)),
        File(f"/etc/systemd/system/{TIMER}", _read("host-firewall-repair.timer")),
        File("/etc/systemd/system/docker.service.d/host-firewall.conf", _read("docker.conf")),
    ]


def _render(name: str, **values: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(ROOT / "templates/firewall"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - not HTML
    )
    return environment.get_template(name).render(**values)


def _script() -> File:
    return File(SCRIPT, _read("host-firewall"), mode="0755")


def _read(name: str) -> str:
    return (ROOT / "files/firewall" / name).read_text()


@operation()
def apply(
    tcp: Sequence[int], udp: Sequence[int] = (), internal_tcp: Sequence[int] = ()
) -> Generator[StringCommand, None, None]:
    """Open the named ports to the outside and drop the rest, IPv4 and IPv6, for the host and its published containers.

    Outside is every interface but the containers' and loopback. The rules hold from the boot on, before there
    is a network, and over restarts of Docker. Rules of others in other chains are left as they are.

    Containers reach the world, but no address that means "on this link", and of the host what is named for them.

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
    live = cached_fact(Firewall, chains=CHAINS)
    for problem in lockout(ruleset, live):
        raise OperationError(str(problem))
    if reasons := difference(ruleset, live):
        for reason in reasons:
            host.log(reason)
        yield from tree._inner(entries=candidate(ruleset))
        yield StringCommand(SCRIPT, "try", CANDIDATE, str(CONFIRM_WITHIN))
        yield KEEP
    installing = list(tree._inner(entries=installed(ruleset)))
    yield from installing
    if installing or live.stale:
        # Not `Unit("docker.service")`, for which a new drop-in is a reason to restart it: this one matters at its next
        # start. And only where systemd needs it: containers with a GPU can lose it in a reload.
        stale = '[ "$(systemctl show -P NeedDaemonReload docker.service)" = yes ]'
        yield StringCommand(f"if {stale}; then systemctl daemon-reload; fi")
    files = (SCRIPT, f"{RULES}/rules.v4", f"{RULES}/rules.v6")
    yield from units._inner(units=[Unit(UNIT, restart_on=files), Unit(TIMER)])

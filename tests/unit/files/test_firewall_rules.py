"""The firewall's script and rules with real packets, in network namespaces of a user namespace: no root is needed,
nothing of this machine is touched and no packet leaves it.

    outside ── eth0 host ┬─ docker0 ── web    publishes 80 (its 8080) and 4000 (its 80), has 6379 to itself
                         └─ br-app ── app

What Docker would do (its chains, its address translation) is done here as `iptables-save` shows it of Docker 26.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from facts.firewall import Firewall, FirewallState
from facts.script import SCRIPTS
from operations.firewall import CHAINS, Ruleset, difference
from tests.unit.paths import CHECKOUT

SCRIPT = CHECKOUT / "files/firewall/host-firewall"
RULESET = Ruleset(tcp=(22, 80, 443), udp=(443,), internal_tcp=(443, 11434, 11435))

HOST = {4: "192.0.2.1", 6: "fd00:2::1"}
OUTSIDE = {4: "192.0.2.2", 6: "fd00:2::2"}
WEB = {4: "172.17.0.2", 6: "fd00:17::2"}
DOCKER0 = {4: "172.17.0.1", 6: "fd00:17::1"}
BR_APP = {4: "172.18.0.1", 6: "fd00:18::1"}
# Of this link: where a hoster answers its machines, and a router its neighbours.
METADATA = "169.254.169.254"
HOST_PORTS = {22, 443, 4321, 5432, 11434, 11435}  # 4321: a port that Docker's proxy would publish
FAMILIES = pytest.mark.parametrize("family", [4, 6])

SETUP = """
    set -e
    mount -t tmpfs none /run
    mkdir /run/netns
    ip link set lo up
    join() {  # namespace, its addresses, interface of the host, its addresses or bridge
        ip netns add "$1"
        ip -n "$1" link set lo up
        ip link add "$4" type veth peer name eth0 netns "$1"
        ip -n "$1" addr add "$2" dev eth0
        ip -n "$1" addr add "$3" dev eth0 nodad
        ip -n "$1" link set eth0 up
        ip link set "$4" up
    }
    bridge() {
        ip link add "$1" type bridge
        ip addr add "$2" dev "$1"
        ip addr add "$3" dev "$1" nodad
        ip link set "$1" up
    }
    join outside 192.0.2.2/24 fd00:2::2/64 eth0
    ip -n outside addr add 169.254.169.254/32 dev eth0
    ip route add 169.254.169.254/32 dev eth0
    ip addr add 192.0.2.1/24 dev eth0
    ip addr add fd00:2::1/64 dev eth0 nodad
    bridge docker0 172.17.0.1/16 fd00:17::1/64
    bridge br-app 172.18.0.1/16 fd00:18::1/64
    join web 172.17.0.2/16 fd00:17::2/64 veth-web
    ip link set veth-web master docker0
    join app 172.18.0.2/16 fd00:18::2/64 veth-app
    ip link set veth-app master br-app
    for at in web:172.17.0.1:fd00:17::1 app:172.18.0.1:fd00:18::1 outside:192.0.2.1:fd00:2::1; do
        rest=${at#*:}
        # For `outside` too: a neighbour can send what it likes to the host, addresses of containers as well.
        ip -n "${at%%:*}" route add default via "${rest%%:*}"
        ip -n "${at%%:*}" -6 route add default via "${rest#*:}"
    done
    echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
    echo ready
    exec sleep infinity
"""

DOCKER = """
    *nat
    :DOCKER - [0:0]
    -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    -A DOCKER -i docker0 -j RETURN
    -A DOCKER -i br-app -j RETURN
    -A DOCKER -p tcp -m tcp --dport 80 -j DNAT --to-destination {web}:8080
    -A DOCKER -p tcp -m tcp --dport 4000 -j DNAT --to-destination {web}:80
    COMMIT
    *filter
    :FORWARD DROP [0:0]
    :DOCKER - [0:0]
    {user}
    -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A FORWARD -o docker0 -j DOCKER
    -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    -A FORWARD -i docker0 -o docker0 -j ACCEPT
    -A FORWARD -o br-app -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A FORWARD -i br-app ! -o br-app -j ACCEPT
    -A DOCKER -d {web_net} ! -i docker0 -o docker0 -p tcp -m tcp --dport 8080 -j ACCEPT
    -A DOCKER -d {web_net} ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
    -A DOCKER -d {web_net} ! -i docker0 -o docker0 -p tcp -m tcp --dport 6379 -j ACCEPT
    COMMIT
"""

LISTEN = """
    import selectors, socket, sys
    selector = selectors.DefaultSelector()
    listening = []  # a connection is made by the kernel; nobody has to accept it
    for port in map(int, sys.argv[1:]):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            server = socket.socket(socket.AF_INET6, kind)  # IPv4 comes in mapped
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                server.listen(64)
                listening.append(server)
            else:
                selector.register(server, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        for key, _ in selector.select():
            data, sender = key.fileobj.recvfrom(64)
            key.fileobj.sendto(data, sender)
"""

PROBE = """
    import json, select, socket, sys, time
    kind, address, *ports = sys.argv[1:]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    pending, reached = {}, []
    for port in map(int, ports):
        probe = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        probe.setblocking(False)
        probe.connect_ex((address, port))
        if kind == "udp":
            probe.send(b"anyone?")
        pending[probe] = port
    end = time.monotonic() + 0.3
    while pending and (left := end - time.monotonic()) > 0:
        readable, writable, _ = select.select(
            pending if kind == "udp" else [], pending if kind == "tcp" else [], [], left
        )
        for probe in readable or writable:
            port = pending.pop(probe)
            if not probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                reached.append(port)
    print(json.dumps(reached))
"""


class Network:
    """The namespaces of the drawing, held by one process; all of them go with it."""

    def __init__(self) -> None:
        command = [
            "unshare",
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ]
        self.holder = subprocess.Popen(
            [*command, "--mount-proc", "bash", "-c", SETUP],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout is not None
        assert self.holder.stderr is not None
        if self.holder.stdout.readline() != "ready\n":
            pytest.fail(f"no network namespaces in a user namespace here: {self.holder.stderr.read()}")
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children")
        self.pid = children.read_text().split()[0]
        self.servers = [
            self._serve("host", HOST_PORTS),
            self._serve("web", {80, 8080, 6379}),
            self._serve("outside", {443}),
        ]

    def command(self, where: str, *command: str) -> list[str]:
        """`command` as it is run in a namespace of the drawing."""
        enter = [
            "nsenter",
            f"--target={self.pid}",
            "--user",
            "--net",
            "--mount",
            "--pid",
            "--preserve-credentials",
        ]
        return [*enter, "--", *(() if where == "host" else ("ip", "netns", "exec", where)), *command]

    def run(self, where: str, *command: str, stdin: str = "", path: Path | None = None) -> str:
        """Output of a command that must succeed. + path: where programs are looked for first"""
        return self.attempt(where, *command, stdin=stdin, path=path, check=True).stdout

    def attempt(
        self, where: str, *command: str, stdin: str = "", path: Path | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """A command that may fail."""
        environment = os.environ | {"PATH": f"{path}:{os.environ['PATH']}"} if path else None
        result = subprocess.run(
            self.command(where, *command), input=stdin, capture_output=True, text=True, env=environment
        )
        if check:
            assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
        return result

    def _serve(self, where: str, ports: set[int]) -> subprocess.Popen[str]:
        command = self.command(where, sys.executable, "-c", textwrap.dedent(LISTEN), *map(str, sorted(ports)))
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        return server

    def reach(self, where: str, address: str, ports: set[int], kind: str = "tcp") -> set[int]:
        """Those of `ports` that answer."""
        probe = (sys.executable, "-ISc", textwrap.dedent(PROBE), kind, address, *map(str, sorted(ports)))
        return set(json.loads(self.run(where, *probe)))

    def reset(self) -> None:
        """Docker's rules, and nothing else."""
        for family, user in ((4, ":DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER"), (6, "")):
            iptables = "ip6tables" if family == 6 else "iptables"
            web, net = (f"[{WEB[6]}]", f"{WEB[6]}/128") if family == 6 else (WEB[4], f"{WEB[4]}/32")
            rules = textwrap.dedent(DOCKER).format(web=web, web_net=net, user=user)
            rules += "*mangle\nCOMMIT\n"
            self.run("host", f"{iptables}-restore", stdin=rules)

    def firewall(self, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return self.attempt("host", str(SCRIPT), *arguments, path=path)

    def state(self) -> FirewallState:
        """What the fact says."""
        answer = self.run("host", "sh", str(SCRIPTS / "firewall.sh"), *CHAINS)
        return Firewall().process(answer.splitlines())

    def close(self) -> None:
        """End what was started."""
        for process in [*self.servers, self.holder]:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def namespaces() -> Iterator[Network]:
    """The drawing, made once."""
    for program in ("unshare", "nsenter", "ip", "iptables", "ip6tables"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.fail(f"these tests need {program}: install util-linux, iproute2 and iptables")
    network = Network()
    network.reset()
    for _ in range(20):  # interfaces take a moment to find their neighbours
        if all(network.reach("outside", WEB[family], {80}) for family in (4, 6)):
            break
    yield network
    network.close()


@pytest.fixture
def network(namespaces: Network) -> Network:
    """The drawing with Docker's rules and no firewall."""
    namespaces.reset()
    return namespaces


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Directory with the rule files of `RULESET`."""
    return write(tmp_path_factory.mktemp("rules"), RULESET)


def write(directory: Path, ruleset: Ruleset) -> str:
    """Rule files as the operation puts them on the host."""
    for family in ("v4", "v6"):
        (directory / f"rules.{family}").write_text(ruleset.render(family))
    return str(directory)


@pytest.fixture
def applied(network: Network, rules: str) -> Network:
    """The drawing with the firewall."""
    result = network.firewall("apply", rules)
    assert (result.returncode, result.stderr) == (0, "")
    return network


@FAMILIES
def test_everything_is_open_without_it(network: Network, family: int) -> None:
    """Or the other tests would prove nothing."""
    assert network.reach("outside", HOST[family], HOST_PORTS | {80, 4000}) == HOST_PORTS | {80, 4000}
    assert network.reach("outside", WEB[family], {80, 8080, 6379}) == {80, 8080, 6379}
    assert network.reach("app", DOCKER0[family], HOST_PORTS) == HOST_PORTS
    assert network.reach("outside", HOST[family], {443, 5432}, "udp") == {443, 5432}


@FAMILIES
def test_outside_reaches_only_what_is_open(applied: Network, family: int) -> None:
    for address in (DOCKER0, BR_APP):  # by routing to what is the host's on networks of containers
        assert applied.reach("outside", address[family], HOST_PORTS) == {22, 443}
    assert applied.reach("outside", HOST[family], HOST_PORTS | {80, 4000}) == {22, 80, 443}
    assert applied.reach("outside", HOST[family], {443, 5432}, "udp") == {443}


@FAMILIES
def test_a_neighbour_that_routes_to_the_bridge_reaches_no_container(applied: Network, family: int) -> None:
    assert applied.reach("outside", WEB[family], {80, 8080, 6379}) == set()


@FAMILIES
def test_containers_reach_the_internal_ports_and_the_world(applied: Network, family: int) -> None:
    for container in ("web", "app"):
        for address in (DOCKER0, BR_APP, HOST):  # the host's, whichever of its interfaces has it
            assert applied.reach(container, address[family], HOST_PORTS | {4000}) == {443, 11434, 11435}
        assert applied.reach(container, HOST[family], {443, 5432}, "udp") == set()
        assert applied.reach(container, OUTSIDE[family], {443}) == {443}


def test_containers_reach_no_address_of_the_link(network: Network, rules: str) -> None:
    assert network.reach("app", METADATA, {443}) == {443}, "or it would prove nothing"
    network.firewall("apply", rules)
    assert network.reach("app", METADATA, {443}) == set()
    assert network.reach("host", METADATA, {443}) == {443}, "the host itself may need it"


@FAMILIES
def test_an_engine_that_translates_for_containers_too_opens_nothing(applied: Network, family: int) -> None:
    """Docker 29 leads containers of other networks to what is published, past INPUT."""
    iptables = "ip6tables" if family == 6 else "iptables"
    for bridge in ("docker0", "br-app"):
        applied.run("host", iptables, "-t", "nat", "-D", "DOCKER", "-i", bridge, "-j", "RETURN")
    assert applied.reach("app", HOST[family], {80, 4000}) == {80}
    assert applied.reach("app", DOCKER0[family], {80, 4000}) == {80}


@FAMILIES
def test_the_host_reaches_itself_and_its_containers(applied: Network, family: int) -> None:
    assert applied.reach("host", HOST[family], HOST_PORTS) == HOST_PORTS
    assert applied.reach("host", WEB[family], {80, 8080, 6379}) == {80, 8080, 6379}


def test_live_rules_are_the_rendered_ones_and_stay_so(applied: Network, rules: str) -> None:
    before = applied.state()
    assert difference(RULESET, before) == []
    assert applied.firewall("apply", rules).returncode == 0
    assert applied.state() == before


def test_no_firewall_is_seen(network: Network) -> None:
    assert difference(RULESET, network.state()) == [
        f"{family}: {reason}"
        for family in ("IPv4", "IPv6")
        for reason in (
            "there is no chain HOST-INPUT",
            "there is no chain HOST-CONTAINERS",
            "there is no chain HOST-FORWARD",
            "INPUT does not come to HOST-INPUT",
            "FORWARD does not come to HOST-FORWARD",
        )
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("iptables -t mangle -F HOST-INPUT", "IPv4: HOST-INPUT has other rules"),
        ("iptables -t mangle -F HOST-CONTAINERS", "IPv4: HOST-CONTAINERS has other rules"),
        ("iptables -t mangle -I HOST-INPUT -p tcp --dport 5432 -j ACCEPT", "-p tcp -m tcp --dport 5432"),
        ("iptables -t mangle -D INPUT -j HOST-INPUT", "IPv4: INPUT does not come to HOST-INPUT"),
        (
            "iptables -t mangle -I INPUT -p tcp --dport 5432 -j ACCEPT",
            "IPv4: INPUT does not come to HOST-INPUT",
        ),
        ("ip6tables -t mangle -F", "IPv6: HOST-FORWARD has other rules"),
        ("ip6tables -t mangle -I FORWARD -j ACCEPT", "IPv6: FORWARD does not come to HOST-FORWARD"),
    ],
)
def test_damage_is_seen_and_repaired(applied: Network, rules: str, damage: str, message: str) -> None:
    applied.run("host", *damage.split())
    assert message in "\n".join(difference(RULESET, applied.state()))
    assert applied.firewall("apply", rules).returncode == 0
    assert difference(RULESET, applied.state()) == []
    assert applied.reach("outside", HOST[6 if "IPv6" in message else 4], {4000, 5432}) == set()


@FAMILIES
@pytest.mark.parametrize(
    "others",
    [
        # What somebody flushes who means "the firewall"; what Docker inserts when it starts then.
        ("-F",),
        ("-I", "FORWARD", "-o", "docker0", "-j", "ACCEPT"),
        ("-I", "INPUT", "-j", "ACCEPT"),
    ],
)
def test_what_others_do_in_filter_opens_nothing(
    applied: Network, family: int, others: tuple[str, ...]
) -> None:
    applied.run("host", "ip6tables" if family == 6 else "iptables", *others)
    applied.run("host", "ip6tables" if family == 6 else "iptables", "-P", "FORWARD", "ACCEPT")
    assert applied.reach("outside", HOST[family], HOST_PORTS | {80, 4000}) == {22, 80, 443}
    assert applied.reach("outside", WEB[family], {80, 8080, 6379}) == set()
    assert difference(RULESET, applied.state()) == []


def test_rules_of_an_earlier_version_are_replaced(network: Network, rules: str) -> None:
    """They were in filter, where Docker and others insert theirs."""
    before = {name: network.run("host", name, "-S") for name in ("iptables", "ip6tables")}
    for name in before:
        network.run("host", name, "-N", "HOST-INPUT")
        network.run("host", name, "-I", "INPUT", "-j", "HOST-INPUT")
    network.run("host", "iptables", "-N", "HOST-FORWARD")
    network.run("host", "iptables", "-I", "DOCKER-USER", "-j", "HOST-FORWARD")
    assert "IPv6: HOST-INPUT is in filter" in difference(RULESET, network.state())
    assert network.firewall("apply", rules).returncode == 0
    assert difference(RULESET, network.state()) == []
    assert {name: network.run("host", name, "-S") for name in before} == before


def test_rules_of_others_that_only_drop_stay_in_front(applied: Network, rules: str) -> None:
    """fail2ban's way: moving our jump to the front again would undo its bans."""
    applied.run("host", "iptables", "-N", "f2b-sshd")
    applied.run("host", "iptables", "-I", "INPUT", "-p", "tcp", "--dport", "22", "-j", "f2b-sshd")
    assert difference(RULESET, applied.state()) == []
    before = applied.run("host", "iptables", "-S")
    applied.firewall("apply", rules)
    assert applied.run("host", "iptables", "-S") == before
    applied.run("host", "iptables", "-D", "INPUT", "-p", "tcp", "--dport", "22", "-j", "f2b-sshd")
    applied.run("host", "iptables", "-X", "f2b-sshd")


def test_a_new_network_of_docker_opens_nothing(applied: Network) -> None:
    """A Docker without DOCKER-USER for IPv6 puts the rules of a new network in front of all others in FORWARD."""
    applied.run("host", "ip6tables", "-I", "FORWARD", "-o", "docker0", "-j", "ACCEPT")
    assert applied.reach("outside", HOST[6], {80, 4000}) == {80}
    assert applied.reach("outside", WEB[6], {80, 8080, 6379}) == set()
    assert difference(RULESET, applied.state()) == []


def test_it_can_come_before_docker(network: Network, rules: str) -> None:
    """As at every boot: what Docker finds, it keeps."""
    network.run("host", "iptables-restore", stdin="*filter\nCOMMIT\n*nat\nCOMMIT\n")
    assert network.firewall("apply", rules).returncode == 0
    assert difference(RULESET, network.state()) == []


def test_an_established_connection_survives(network: Network, rules: str) -> None:
    """The SSH session that applies the rules, and those of users of a published port."""
    client = textwrap.dedent(f"""
        import socket, sys
        session = socket.create_connection(("{HOST[4]}", 5432))
        print("connected", flush=True)
        sys.stdin.readline()
        session.settimeout(1)
        session.sendall(b"still here")
        import struct, time; time.sleep(0.2)
        unacknowledged = struct.unpack("I", session.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24:28])[0]
        print("unacknowledged", unacknowledged)
    """)
    process = subprocess.Popen(
        network.command("outside", sys.executable, "-c", client),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "connected\n"
    assert network.firewall("apply", rules).returncode == 0
    assert network.reach("outside", HOST[4], {5432}) == set()
    answer, _ = process.communicate("go\n")
    assert answer == "unacknowledged 0\n"


def live(network: Network, iptables: str) -> str:
    """Rules of the tables that the script changes, or did."""
    return network.run("host", iptables, "-S") + network.run("host", iptables, "-t", "mangle", "-S")


@pytest.fixture
def systemd(tmp_path: Path) -> Path:
    """`systemd-run` that records its arguments, and `systemctl stop` that knows whether that was armed."""
    armed = tmp_path / "armed"
    for name, script in (
        ("systemd-run", f'echo "$*" >{armed}'),
        ("systemctl", f'[ "$*" = "stop host-firewall-rollback.timer" ] && rm {armed}'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_rules_on_trial_are_kept(network: Network, rules: str, systemd: Path) -> None:
    assert network.firewall("try", rules, "60", path=systemd).returncode == 0
    assert "--on-active=60" in (systemd / "armed").read_text()
    assert (systemd / "armed").read_text().endswith(f"{SCRIPT} rollback\n")
    assert network.firewall("keep", path=systemd).returncode == 0
    assert not (systemd / "armed").exists()
    assert difference(RULESET, network.state()) == []
    assert network.firewall("rollback", path=systemd).stdout == "", "there is nothing left to go back to"
    assert difference(RULESET, network.state()) == []


def test_the_timers_repair_leaves_a_trial_alone(network: Network, rules: str, systemd: Path) -> None:
    """It comes every minute, and a trial lasts one."""
    assert network.firewall("try", rules, "60", path=systemd).returncode == 0
    assert network.firewall("apply", path=systemd).returncode == 0, "there are no other rules here"
    assert difference(RULESET, network.state()) == ["they are on trial since a run that was interrupted"]
    assert network.firewall("keep", path=systemd).returncode == 0
    assert network.firewall("apply", path=systemd).returncode == 1, (
        "now it looks for those that are installed"
    )
    assert difference(RULESET, network.state()) == []


def test_rules_on_trial_are_rolled_back(network: Network, rules: str, systemd: Path, tmp_path: Path) -> None:
    before = {name: live(network, name) for name in ("iptables", "ip6tables")}
    assert network.firewall("try", rules, "60", path=systemd).returncode == 0
    assert network.reach("outside", HOST[4], {5432}) == set()
    assert network.firewall("rollback", path=systemd).returncode == 0
    assert {name: live(network, name) for name in before} == before
    assert network.reach("outside", HOST[6], {5432, 4000}) == {5432, 4000}
    late = network.firewall("keep", path=systemd)
    assert late.returncode == 1
    assert "rolled back before they were confirmed" in late.stderr


def test_rules_that_cannot_be_loaded_change_nothing(
    applied: Network, systemd: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Not even those of one family, when the other's are refused."""
    other = tmp_path_factory.mktemp("broken")
    write(other, Ruleset(tcp=(22, 5432)))
    (other / "rules.v6").write_text("*mangle\n:HOST-INPUT - [0:0]\n-A HOST-INPUT --nonsense\nCOMMIT\n")
    result = applied.firewall("try", str(other), "60", path=systemd)
    assert result.returncode == 1
    assert "nonsense" in result.stderr
    assert difference(RULESET, applied.state()) == []
    assert not (systemd / "armed").exists()


def test_an_interrupted_trial_is_undone_before_the_next(
    network: Network, rules: str, systemd: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    unconfirmed = write(tmp_path_factory.mktemp("unconfirmed"), Ruleset(tcp=(1,)))
    before = live(network, "iptables")
    assert network.firewall("try", unconfirmed, "60", path=systemd).returncode == 0
    assert network.firewall("try", rules, "60", path=systemd).returncode == 0
    assert network.firewall("rollback", path=systemd).returncode == 0
    assert live(network, "iptables") == before


def test_ipv6_without_tables(network: Network, rules: str, tmp_path: Path) -> None:
    """With addresses it would be open: an error, after IPv4 is closed. Without any there is nothing to close."""
    broken = tmp_path / "ip6tables"
    broken.write_text("#!/bin/sh\necho no such table >&2\nexit 3\n")
    broken.chmod(0o755)
    result = network.firewall("apply", rules, path=tmp_path)
    assert result.returncode == 1
    assert "found IPv6 addresses but no IPv6 tables" in result.stderr
    assert network.reach("outside", HOST[4], {5432}) == set()

    grep = tmp_path / "grep"
    grep.write_text("#!/bin/sh\nexit 1\n")
    grep.chmod(0o755)
    result = network.firewall("apply", rules, path=tmp_path)
    assert (result.returncode, result.stdout) == (0, "IPv6 is off: rules for IPv4 only\n")


def test_it_is_quick(applied: Network, rules: str) -> None:
    """It runs before each start of Docker."""
    start = time.monotonic()
    applied.firewall("apply", rules)
    assert time.monotonic() - start < 2

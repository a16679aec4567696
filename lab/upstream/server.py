"""The machine of the simulated internet: dnsmasq, nginx, docker-registry, Pebble and the APIs in one nspawn machine.

It shares this machine's network, so that it reaches the Debian mirror without any routing, and binds the upstream's
addresses only. Its root is read-only with a temporary layer above: a start is always a fresh one. What it keeps is in
`.lab/upstream/` (this lab's) and the cache folder (all labs').
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import jinja2

from blueprint import group_data
from lab import authority, nspawn, roots
from lab.paths import CACHE, CHECKOUT, Lab
from lab.upstream import indexes
from lab.upstream.accounts import keys
from lab.upstream.names import RELEASE_ASSETS, SITES, TIME_SERVERS, Mirror, Serves, host_names
from lab.upstream.traffic import recover

HERE = Path(__file__).parent
IMAGES = HERE.parent / "images"
FILES = CHECKOUT / "files"
PACKAGES = (
    "apt-utils",  # apt-ftparchive
    "buildah",
    "ca-certificates",
    "dnsmasq-base",
    "docker-registry",
    "gpg",
    "gpg-agent",
    "netavark",  # buildah will not start without it
    "nginx-light",
    "pebble",
    "python3",
    "systemd-sysv",
)
PROBE = "lab-probe"  # user agent of our own questions
UNITS = ("dns", "web", "registry", "api", "acme", "ntp")
PEBBLE, PEBBLE_ROOTS = 14000, 15000  # ports


def name(lab: Lab) -> str:
    """Name of the nspawn machine."""
    return f"{lab.name}-upstream"


def start(lab: Lab) -> None:
    """Boot the upstream and wait until it answers; a running one is left alone unless its configuration changed.

    :raises SystemExit: it does not come up; with what its services say
    """
    if not _has_addresses(lab):
        raise SystemExit(f"no interface has {lab.upstream}; the lab's network comes first")
    root = roots.root("upstream", PACKAGES)
    state = lab.state / "upstream"
    mirror = Mirror.of(roots.mirror())
    config = configuration(lab, root, mirror)
    arguments = _arguments(lab)
    digest = hashlib.sha256(repr([root.name, arguments, sorted(config.items())]).encode())
    for source in sorted(
        [HERE / "api.py", HERE / "acme_chain.py", HERE / "ntp.py", *(HERE / "units").iterdir()]
    ):
        digest.update(source.read_bytes())
    stamp = state / "booted-with"
    if nspawn.running(state) and stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return _await_answers(lab)
    stop(lab)
    for folder in (
        state / "config",
        state / "downloads",
        state / "down",
        CACHE / "apt",
        CACHE / "containers",
    ):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, content in config.items():
        authority.write_private(state / "config" / path, content)
    authority.certificate(host_names(mirror), [lab.upstream, lab.address6(3)], state / "config")
    authority.issuer(state / "config")
    _registry_storage(lab)
    for received in ("requests.jsonl", "telegram.jsonl"):
        (state / received).unlink(missing_ok=True)
    recover(lab)  # a test that was killed may have left a host disturbed
    nspawn.start(name(lab), root, state, arguments)
    stamp.write_text(digest.hexdigest())
    return _await_answers(lab)


def stop(lab: Lab) -> None:
    """Power the upstream off; also takes away what a killed run left."""
    state = lab.state / "upstream"
    nspawn.stop(name(lab), state, seconds=10)
    (state / "booted-with").unlink(missing_ok=True)


def run(lab: Lab, command: Sequence[str], *, stdin: bytes = b"", show: bool = False) -> bytes:
    """Run a command inside the upstream.

    :param stdin: what it reads
    :param show: let its output be seen instead of returning it
    :raises SystemExit: it failed; with its output
    """
    output = None if show else subprocess.PIPE
    done = subprocess.run(
        nspawn.inside(name(lab), command),
        check=False,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            **indexes.proxies(),
        },
        input=stdin,
        stdout=output,
        stderr=output,
    )
    if done.returncode:
        printed = b"" if show else done.stdout + done.stderr
        raise SystemExit(
            f"{' '.join(command)} failed ({done.returncode}) in the upstream\n{printed.decode()}".rstrip()
        )
    return done.stdout or b""


def ready(lab: Lab) -> bool:
    """Whether DNS, TLS, the registry, the APIs and the certificates' authority answer."""
    return not _silent(lab)


def registry_storage(lab: Lab) -> Path:
    """Root folder of the registry's storage: repositories are the lab's own, blobs are shared by all labs."""
    return CACHE / "registry" / lab.name


def configuration(lab: Lab, root: Path, mirror: Mirror) -> dict[str, bytes]:
    """Contents of `.lab/upstream/config/`, but for the certificate."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - no HTML
    )
    accepted = keys(lab)
    login = f"{accepted['registry_user']}:{accepted['registry_password']}"
    nginx = templates.get_template("nginx.conf.j2").render(
        addresses=[lab.upstream, f"[{lab.address6(3)}]"],
        # This machine, by either of its addresses: pushes come from the image builds inside the upstream.
        writers=[address(host) for address in (lab.address4, lab.address6) for host in (1, 3)],
        sites=SITES,
        mirror=mirror,
        release_assets=RELEASE_ASSETS,
        pebble=f"{lab.upstream}:{PEBBLE}",
        resolvers=_resolvers(),
        probe=PROBE,
        registry_login=base64.b64encode(login.encode()).decode(),
    )
    names = host_names(mirror)
    dnsmasq = templates.get_template("dnsmasq.conf.j2").render(
        addresses=[lab.upstream, lab.address6(3)],
        names=[*names, *TIME_SERVERS],
        zones=zones(),
        machine=lab.machine,
    )
    hosts = ["127.0.0.1 localhost", "::1 localhost", *(f"{lab.upstream} {host}" for host in names)]
    pebble = {
        "listenAddress": f"{lab.upstream}:{PEBBLE}",
        "managementListenAddress": f"{lab.upstream}:{PEBBLE_ROOTS}",
        "certificate": "/srv/upstream/config/tls.crt",
        "privateKey": "/srv/upstream/config/tls.key",
        "httpPort": 80,
        "tlsPort": 443,
        "retryAfter": {"authz": 1, "order": 1},
    }
    ca = authority.certificate_file().read_bytes()
    return {
        "nginx.conf": nginx.encode(),
        "dnsmasq.conf": dnsmasq.encode(),
        "pebble.json": json.dumps({"pebble": pebble}).encode(),
        "acme.env": f"DNS={lab.upstream}:53\nROOTS=https://{lab.upstream}:{PEBBLE_ROOTS}/roots/0\n".encode(),
        "ntp.env": f"ADDRESS={lab.upstream}\n".encode(),
        "registry.yml": templates.get_template("registry.yml.j2")
        .render(storage=f"/srv/registry/{lab.name}")
        .encode(),
        "hosts": "".join(f"{line}\n" for line in hosts).encode(),
        "authority.crt": ca,
        **indexes.configuration(),
        "ca-certificates.crt": (root / "etc/ssl/certs/ca-certificates.crt").read_bytes() + ca,
    }


def _arguments(lab: Lab) -> list[str]:
    """nspawn options: a read-only root under a temporary layer, and what the services read and write."""
    state = lab.state / "upstream"
    seen = {
        HERE: "/etc/upstream",
        HERE / "units" / "upstream.target": "/etc/systemd/system/default.target",
        **{HERE / "units" / f"{unit}.service": f"/etc/systemd/system/{unit}.service" for unit in UNITS},
        state / "config" / "hosts": "/etc/hosts",
        state / "config" / "ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt",
        CACHE / "roots": "/srv/roots",
        IMAGES: "/srv/images",
        FILES: "/files",  # where images/ leads to by links: what the owner builds from the same folders
    }
    kept = {
        state: "/srv/upstream",
        CACHE / "apt": "/srv/cache/apt",
        CACHE / "registry": "/srv/registry",
        CACHE / "containers": "/var/lib/containers",
    }
    return [
        "--volatile=overlay",
        "--read-only",  # of the root below: other labs boot from the same one
        "--drop-capability=CAP_NET_ADMIN",  # the network is this machine's
        *(f"--bind-ro={source}:{target}" for source, target in seen.items()),
        *(f"--bind={source}:{target}" for source, target in kept.items()),
        *(f"--bind-ro={path}" for path in indexes.paths()),
    ]


def zones() -> list[str]:
    """The domains under which the owner has names: all of these lead to the server, as his wildcard does."""
    # The lab's own declarations need what its upstream says first.
    stacks = group_data.read().blueprint("production").stacks
    domains = [domain for stack in stacks for service in stack.services for domain in service.domains]
    return sorted({".".join(domain.split(".")[-2:]) for domain in domains})


def _registry_storage(lab: Lab) -> None:
    """Blobs are content-addressed and moved into place whole, so all labs share them; tags are each lab's own."""
    blobs = CACHE / "registry" / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    version = registry_storage(lab) / "docker/registry/v2"
    version.mkdir(parents=True, exist_ok=True)
    if not (version / "blobs").is_symlink():
        (version / "blobs").symlink_to("../../../../blobs")


def _resolvers() -> list[str]:
    """Name servers of this machine, as nginx writes them."""
    lines = (line.split() for line in Path("/etc/resolv.conf").read_text().splitlines())
    servers = [fields[1].partition("%")[0] for fields in lines if fields[:1] == ["nameserver"]]
    if not servers:
        raise SystemExit(
            "/etc/resolv.conf names no server; the lab passes the Debian mirror through and needs one"
        )
    return [f"[{server}]" if ipaddress.ip_address(server).version == 6 else server for server in servers]


def _has_addresses(lab: Lab) -> bool:
    for family, address in ((socket.AF_INET, lab.upstream), (socket.AF_INET6, lab.address6(3))):
        with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.bind((address, 0))
            continue
        return False
    return True


def _await_answers(lab: Lab, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while silent := _silent(lab):
        if time.monotonic() > deadline or not nspawn.running(lab.state / "upstream"):
            with suppress(nspawn.NspawnError, SystemExit):
                journal = run(lab, ["journalctl", "--no-pager", "--lines=40", "--output=cat"]).decode()
                silent = f"{silent}\n{journal}"
            raise SystemExit(f"the lab's upstream does not answer: {silent}")
        time.sleep(0.1)


def _silent(lab: Lab) -> str:
    """What does not answer yet; empty when everything does."""
    try:
        if not _resolves(lab, SITES[0].name):
            return f"DNS does not know {SITES[0].name}"
        for serves, path in (
            (Serves.REGISTRY, "/v2/"),
            (Serves.API, "/v1/models"),
            (Serves.ACME, "/directory"),
        ):
            site = next(site for site in SITES if site.serves is serves)
            status = _status(lab, site.name, path)
            if status >= 500:
                return f"https://{site.name}{path} answers {status}"
    except OSError as error:
        return str(error)
    return ""


def _resolves(lab: Lab, host: str) -> bool:
    """Ask the lab's DNS for an A record."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
    question = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect((lab.upstream, 53))
        client.send(question)
        answer = client.recv(512)
    return answer.endswith(ipaddress.ip_address(lab.upstream).packed)


def _status(lab: Lab, host: str, path: str) -> int:
    """HTTP status of a GET under a simulated name, its certificate checked."""
    trust = ssl.create_default_context(cafile=str(authority.certificate_file()))
    with (
        socket.create_connection((lab.upstream, 443), timeout=2) as connection,
        trust.wrap_socket(connection, server_hostname=host) as tls,
    ):
        headers = f"Host: {host}\r\nUser-Agent: {PROBE}\r\nConnection: close"
        tls.sendall(f"GET {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        return int(tls.recv(64).split()[1])

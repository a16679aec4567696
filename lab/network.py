"""The lab's network: a bridge of its own with the server, the simulated internet and a stranger's host on it.

Nothing here routes: no forwarding, no address translation. Before the first address exists, an unreachable route makes
sure that no packet for the lab can leave by this machine's default route while an interface is missing.
"""

from __future__ import annotations

import subprocess

from lab.paths import Lab


def bridge(lab: Lab) -> str:
    return f"{lab.name}br"


def port(lab: Lab) -> str:
    """The server's port on the bridge, as nspawn names it."""
    return f"vb-{lab.name}"


def outside_namespace(lab: Lab) -> str:
    return f"{lab.name}out"


def _ip(*arguments: str, check: bool = True) -> bool:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.returncode == 0


def up(lab: Lab) -> None:
    """Bring the network up; idempotent, and repairs what a killed run left half-made."""
    for family, subnet in (("-4", lab.subnet4), ("-6", lab.subnet6)):
        _ip(family, "route", "replace", "unreachable", subnet, "metric", "9999")
    if not _ip("link", "show", bridge(lab), check=False):
        _ip("link", "add", bridge(lab), "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
    for host in (1, 3):  # this machine's end, and the simulated internet's
        _ip("addr", "replace", f"{lab.address4(host)}/24", "dev", bridge(lab))
        _ip("addr", "replace", f"{lab.address6(host)}/64", "dev", bridge(lab), "nodad")
    _ip("link", "set", bridge(lab), "up")
    _outside(lab)


def _outside(lab: Lab) -> None:
    space, near = outside_namespace(lab), f"{lab.name}o"
    if _ip("-n", space, "link", "show", "eth0", check=False):
        return
    _ip("netns", "delete", space, check=False)
    _ip("link", "delete", near, check=False)
    _ip("netns", "add", space)
    _ip("link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", space)
    _ip("link", "set", near, "master", bridge(lab), "up")
    _ip("-n", space, "addr", "add", f"{lab.outside}/24", "dev", "eth0")
    _ip("-n", space, "addr", "add", f"{lab.address6(4)}/64", "dev", "eth0", "nodad")
    for interface in ("lo", "eth0"):
        _ip("-n", space, "link", "set", interface, "up")
    # It is the server's default gateway too, and knows no way on: what is not simulated is unreachable at once.
    _ip("netns", "exec", space, "sysctl", "-q", "net.ipv4.ip_forward=1")


def plug(lab: Lab) -> str:
    """Make the server's port on the bridge, for a machine that does not make its own; gives its name."""
    _ip("tuntap", "add", port(lab), "mode", "tap")
    _ip("link", "set", port(lab), "master", bridge(lab), "up")
    return port(lab)


def unplug(lab: Lab) -> None:
    """Remove the server's port on the bridge, which outlives an nspawn that was killed and stops the next one."""
    _ip("link", "delete", port(lab), check=False)


def down(lab: Lab) -> None:
    """Remove every interface, namespace and, last of all, the routes that kept packets in."""
    unplug(lab)
    _ip("netns", "delete", outside_namespace(lab), check=False)
    _ip("link", "delete", f"{lab.name}o", check=False)
    _ip("link", "delete", bridge(lab), check=False)
    for family, subnet in (("-4", lab.subnet4), ("-6", lab.subnet6)):
        _ip(family, "route", "delete", "unreachable", subnet, "metric", "9999", check=False)

"""The fact a preflight reads."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from facts import host
from facts.host import Disk, Display, Host, Listener

ANSWER = """\
@@os-release
PRETTY_NAME="Debian GNU/Linux 13 (trixie)"
VERSION_ID="13"
# a comment
ID=debian
@@kernel
6.12.48+deb13-amd64
@@machine
x86_64
@@uid
0
@@clock
1795377665
@@cpu
processor\t: 0
model name\t: Intel(R) Celeron(R) G4930 CPU @ 3.20GHz
processor\t: 1
@@memory
MemTotal:       12238212 kB
@@modules
@@headers
available
@@secure-boot
   1
SecureBoot enabled
@@virtualization
none
@@reboot
@@listeners
LISTEN 0      128    0.0.0.0:22       0.0.0.0:*    users:(("sshd",pid=512,fd=7),("systemd",pid=1,fd=80))
LISTEN 0      4096   [::]:80          [::]:*       users:(("docker-proxy",pid=901,fd=8))
LISTEN 0      4096   127.0.0.53%lo:53 0.0.0.0:*
LISTEN 0      128    *:11434          *:*
@@units
1
512 ssh.service
901 docker.service
@@pci
0000:00:02.0 VGA compatible controller [0300]: Intel Corporation CoffeeLake-S GT1 [UHD Graphics 610] [8086:3e93]
0000:00:1f.6 Ethernet controller [0200]: Intel Corporation Ethernet Connection (7) I219-V [8086:15bc] (rev 10)
0000:01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA104 [GeForce RTX 3070] [10de:2484] (rev a1)
0000:01:00.1 Audio device [0403]: NVIDIA Corporation GA104 High Definition Audio Controller [10de:228b] (rev a1)
0000:03:00.0 3D controller [0302]: NVIDIA Corporation GA102 [GeForce RTX 3080] [10de:2206] (rev a1)
@@disks
/ 245107195904 219043332096 13958643712
/var/lib/docker 245107195904 219043332096 13958643712
"""
# The same machine with nothing installed: no ss, no lspci, no systemd.
BARE = """\
@@os-release
ID=debian
@@kernel
6.12.48+deb13-amd64
@@machine
x86_64
@@uid
1000
@@clock
100
@@cpu
@@memory
@@modules
nouveau
@@headers
@@secure-boot
@@reboot
required
@@disks
/ 0 0 0
/var/lib/docker 100 50 50
"""


def test_everything_there() -> None:
    state = host.parse(ANSWER.splitlines(), now=1795377663.5)
    assert (state.os, state.os_version, state.os_name) == ("debian", "13", "Debian GNU/Linux 13 (trixie)")
    assert (state.cpu, state.cores) == ("Intel(R) Celeron(R) G4930 CPU @ 3.20GHz", 2)
    assert state.memory == 12238212 * 1024
    assert state.headers == "available"
    assert not state.nouveau
    assert state.secure_boot is True
    assert state.clock_offset_s == 1.5
    assert state.listeners == (
        Listener(22, "sshd", 512, "ssh.service"),
        Listener(80, "docker-proxy", 901, "docker.service"),
        Listener(53, None, None),
        Listener(11434, None, None),
    )
    assert state.displays == (
        Display("00:02.0", "8086:3e93", "Intel Corporation CoffeeLake-S GT1 [UHD Graphics 610]"),
        Display("01:00.0", "10de:2484", "NVIDIA Corporation GA104 [GeForce RTX 3070]"),
        Display("03:00.0", "10de:2206", "NVIDIA Corporation GA102 [GeForce RTX 3080]"),
    )
    assert not state.reboot_required
    assert not state.container
    assert state.root_disk.percent == 95


def test_nothing_there() -> None:
    state = host.parse(BARE.splitlines(), now=160.0)
    assert state.listeners is None
    assert state.displays == ()
    assert state.virtualization is None
    assert (state.cpu, state.cores, state.memory) == ("unknown", 0, 0)
    assert state.headers == "missing"
    assert state.nouveau
    assert state.secure_boot is None
    assert state.clock_offset_s == -60
    assert state.reboot_required
    assert state.uid == 1000
    assert state.root_disk.percent == 0


@pytest.mark.parametrize(
    ("lines", "desired"),
    [
        (["0"], False),
        (["   1"], True),
        (["SecureBoot disabled"], False),
        (["EFI variables …"], None),
        ([], None),
    ],
)
def test_secure_boot(lines: list[str], desired: bool | None) -> None:
    answer = ANSWER.replace("   1\nSecureBoot enabled\n", "".join(f"{line}\n" for line in lines))
    assert host.parse(answer.splitlines(), now=0).secure_boot is desired


def test_a_container_is_distinguished_from_a_virtual_machine() -> None:
    state = host.parse(ANSWER.splitlines(), now=0)
    assert replace(state, virtualization="systemd-nspawn").container
    assert not replace(state, virtualization="kvm").container


def test_percent_is_that_of_df() -> None:
    assert (
        Disk("/", size=1000, used=501, free=400).percent == 56
    )  # 55.6, and 5 % of the disk is kept for root
    assert Disk("/", size=0, used=0, free=0).percent == 0


def test_command_on_this_machine() -> None:
    """Whatever is installed here, the script succeeds silently and its answer is understood."""
    command = Host().command().get_raw_value()
    done = subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, text=True)
    state = Host().process(done.stdout.splitlines())
    assert done.stderr == ""
    assert state.cores == Path("/proc/cpuinfo").read_text().count("processor\t:")
    assert abs(state.clock_offset_s) < 30
    assert state.root_disk.size > 0


def test_command_with_next_to_nothing(tmp_path: Path) -> None:
    for name in ("sh", "cat", "uname", "id", "date", "grep", "df", "tail", "dirname"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    environment = {"PATH": str(tmp_path)}
    command = Host().command().get_raw_value()
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=environment, check=True, capture_output=True, text=True
    )
    state = Host().process(done.stdout.splitlines())
    assert (state.listeners, state.virtualization) == (None, None)

#!/bin/sh
# All that the preflight needs to know about a host, in one command. It relies only on sh, coreutils and grep; without
# another program the section of that program is missing, and the reader knows why. Numbers come from /proc and not from
# nproc or free, so that a test can present the machine as another one.
set -u

has() {
    command -v "$1" >/dev/null
}

section() {
    echo "@@$1"
}

kernel=$(uname -r)

section os-release
cat /etc/os-release 2>/dev/null
section kernel
uname -r
section machine
uname -m
section uid
id -u
section clock
date +%s

section cpu
grep -E '^(processor|model name)[[:space:]]*:' /proc/cpuinfo
section memory
grep '^MemTotal:' /proc/meminfo

section modules
[ ! -d /sys/module/nouveau ] || echo nouveau

section headers
if [ -e "/lib/modules/$kernel/build" ]; then
    echo installed
elif has dpkg-query && dpkg-query -W -f '${Status}' "linux-headers-$kernel" 2>/dev/null | grep -q ' installed$'; then
    echo installed
elif has apt-cache && apt-cache show "linux-headers-$kernel" 2>/dev/null | grep -q '^Package:'; then
    echo available
fi

# A file of five bytes: four of attributes, then 1 when it is on. Without EFI there is no Secure Boot.
section secure-boot
if [ ! -d /sys/firmware/efi ]; then
    echo 0
else
    for variable in /sys/firmware/efi/efivars/SecureBoot-*; do
        [ ! -r "$variable" ] || od -An -tu1 -j4 -N1 "$variable"
    done
    if has mokutil; then mokutil --sb-state 2>/dev/null; fi
fi

if has systemd-detect-virt; then
    section virtualization
    systemd-detect-virt
fi

section reboot
[ ! -e /run/reboot-required ] || echo required

if has ss; then
    listeners=$(ss -Hltnp)
    section listeners
    echo "$listeners"
    # The control group of a process names the unit that it belongs to.
    section units
    for pid in $(echo "$listeners" | grep -o 'pid=[0-9]*' | cut -d = -f 2 | sort -u); do
        echo "$pid $(grep -o '[^/]*\.service' "/proc/$pid/cgroup" 2>/dev/null | tail -n 1)"
    done
fi

section pci
if has lspci; then
    lspci -Dnn
else # the same lines from what lspci would read; only the names are in its own database
    for device in /sys/bus/pci/devices/*; do
        [ -r "$device/class" ] || continue
        read -r class <"$device/class"
        read -r vendor <"$device/vendor"
        read -r id <"$device/device"
        class=${class#0x}
        echo "${device##*/} Device [${class%??}]: unnamed [${vendor#0x}:${id#0x}]"
    done
fi

docker_root=
if has docker; then
    docker_root=$(timeout 10 docker info --format '{{.DockerRootDir}}' 2>/dev/null)
    section coolify
    timeout 10 docker inspect --type container --format '{{.State.Running}}' coolify 2>/dev/null
fi

section disks
for path in / "${docker_root:-/var/lib/docker}"; do
    place=$path
    while [ ! -d "$place" ]; do place=$(dirname "$place"); done
    # Neither a line of titles nor the device's name, which may contain blanks.
    echo "$path $(df --block-size=1 --output=size,used,avail "$place" | tail -n 1)"
done
exit 0

#!/bin/sh
# Installs the system packages that the lab and the unit tests need on this machine, or says how.
set -eu

# package:command that tells whether it is there
needed="
systemd-container:systemd-nspawn
mmdebstrap:mmdebstrap
iproute2:ip
iptables:iptables
procps:sysctl
curl:curl
systemd:systemd-analyze
pciutils:lspci
openssh-client:ssh
zstd:zstd
gpg:gpg
nodejs:node
dpkg-dev:dpkg-deb
"

missing=""
for entry in $needed; do
    command -v "${entry#*:}" >/dev/null 2>&1 || missing="$missing ${entry%%:*}"
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null 2>&1 || {
    echo "The lab runs on Debian and its relatives; missing here:$missing" >&2
    exit 1
}
if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo"
else
    echo "Some system packages are missing. Run this once, then again what you ran:" >&2
    echo "    sudo apt-get update && sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing:$missing"
$as_root apt-get update -q
# shellcheck disable=SC2086 # package names, split on purpose
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $missing

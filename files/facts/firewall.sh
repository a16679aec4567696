#!/bin/sh
# Firewall rules for facts/firewall.py. Arguments: the chains to report, whatever table they are in.
# Sections: session (the host's port of this SSH session), listen (addresses sshd waits on), stale (whether systemd has
# to read docker.service again), trial (whether rules are on trial), ipv4, ipv6.
set -u
PATH=$PATH:/usr/sbin:/sbin
exec 2>/dev/null

# Under sudo there is no SSH_CONNECTION, so the listening addresses are always reported.
echo "@@session"
echo "${SSH_CONNECTION:-}" | awk '{ print $4 }'

echo "@@listen"
ss -Hltnp | awk '/"sshd"/ { print $4 }'
for unit in ssh.socket sshd.socket; do
    if systemctl is-active -q "$unit"; then
        systemctl show -P Listen "$unit" | awk '/\(Stream\)/ { print $1 }'
    fi
done

echo "@@stale"
systemctl show -P NeedDaemonReload docker.service

echo "@@trial"
[ ! -e /run/host-firewall/before.v4 ] || echo yes

names=$(IFS='|' && echo "$*")
ours() { grep -E "^(\*|:($names) |-A ($names) )"; }
echo "@@ipv4"
iptables-save | ours
# The same condition as in files/firewall/host-firewall: tables exist, or addresses that need them.
if ip6tables -w 10 -S INPUT >/dev/null || grep -qv ' lo$' /proc/net/if_inet6; then
    echo "@@ipv6"
    ip6tables-save | ours
fi
true

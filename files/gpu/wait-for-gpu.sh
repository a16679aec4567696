#!/bin/bash
# Wait until the driver lists a card. $1: its UUID, $2: seconds to wait at most (120).
#
# At boot the driver may take a while to bring up five cards, and a service that computes would silently fall back to the
# CPU.
set -euo pipefail

readonly uuid=${1:?the UUID of a card}
readonly patience=${2:-120}

# CUDA makes the device nodes on first use through a setuid program, which a hardened service may not run.
if command -v nvidia-modprobe >/dev/null; then
    nvidia-modprobe -u -c=0 || true
fi

deadline=$((SECONDS + patience))
while true; do
    # A hanging nvidia-smi must not make this hang; its output is for the message below.
    cards=$(timeout 30 nvidia-smi -L 2>&1) || true
    if [[ $cards == *"(UUID: $uuid)"* ]]; then
        exit 0
    fi
    ((SECONDS < deadline)) || break
    sleep 2
done
{
    echo "found:    ${cards:-no answer of nvidia-smi}"
    echo "expected: card $uuid within $patience s"
    echo "fix:      journalctl -k -g NVRM; a card that fell off the bus comes back with a reboot or a power cycle"
} >&2
exit 1

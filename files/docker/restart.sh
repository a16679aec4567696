#!/usr/bin/env bash
# Restart Docker, so that it runs with the configuration on the disk. $1: whether live-restore is on in it.
set -euo pipefail
live_restore=$1

running_with_live_restore() {
    [[ $(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null) == true ]]
}

# Containers that run without live-restore would not survive the restart that switches it on. A reload switches it on as
# well, but does not report a file that Docker refuses.
if [[ $live_restore == true && -n $(docker ps --quiet 2>/dev/null) ]] && ! running_with_live_restore; then
    echo "switching live-restore on before the restart, so that the running containers survive it"
    systemctl reload docker.service
    for _ in {1..50}; do
        if running_with_live_restore; then break; fi
        sleep 0.1
    done
    if ! running_with_live_restore; then
        echo "found live-restore still off after a reload; nothing was restarted, see: journalctl -u docker" >&2
        exit 1
    fi
fi

systemctl reset-failed docker.service 2>/dev/null || true # earlier runs must not use up its three starts a minute
if ! systemctl restart docker.service || ! docker info &>/dev/null; then
    journalctl --unit docker.service --lines 30 --no-pager --output cat >&2
    echo "found that Docker does not come up with its new configuration: see its last lines above" >&2
    exit 1
fi
echo "Docker restarted"

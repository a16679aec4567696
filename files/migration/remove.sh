#!/usr/bin/env bash
# Removes stopped containers, but never their volumes; sent by operations/adoption.py.
#
#     remove.sh CONTAINER...
#
# A container with data in an anonymous volume is kept: the host's clean-up removes such a volume once no container has it.
set -euo pipefail

nameless=$(docker volume ls --quiet --filter label=com.docker.volume.anonymous)
for container in "$@"; do
    if [[ $(docker inspect --format '{{.State.Running}}' -- "$container") == true ]]; then
        echo "$container: found it running, expected it stopped: somebody has started it again, find out why" >&2
        exit 1
    fi
    volumes=$(docker inspect --format '{{range .Mounts}}{{or .Name .Source}} {{end}}' -- "$container")
    if lost=$(tr ' ' '\n' <<<"$volumes" | grep -xF -f <(echo "$nameless") | grep .); then
        echo "$container: kept, it has data in a volume without a name ($lost): save that, then docker rm --volumes $container"
        continue
    fi
    docker rm -- "$container" >/dev/null
    echo "$container: removed; its data stays in ${volumes:-no volume}"
done

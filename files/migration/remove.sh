#!/usr/bin/env bash
# Removes stopped containers, never a volume of theirs; sent by operations/adoption.py.
#
#     remove.sh CONTAINER...
#
# One that has data in a volume without a name is kept: the host's clean-up takes such volumes once no container has them.
set -euo pipefail

nameless=$(docker volume ls --quiet --filter label=com.docker.volume.anonymous)
for container in "$@"; do
    if [[ $(docker inspect --format '{{.State.Running}}' -- "$container") == true ]]; then
        echo "$container: found it running, wanted it stopped: somebody has started it again, see what for" >&2
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

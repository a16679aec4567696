#!/bin/bash
# Bring an Uptime Kuma to its declared state: files/uptime-kuma/client.js is run beside it, in its network and with its
# image, but within a memory limit of its own. The login and what to do come on standard input.
# usage: apply.sh CONTAINER PROGRAM
set -euo pipefail
container=$1 program=$2
image=$(docker inspect --format '{{if .State.Running}}{{.Image}}{{end}}' "$container" 2>/dev/null) || true
if [[ -z $image ]]; then
    cat >/dev/null
    echo "found no running container $container; wanted one to declare monitors in: docker logs $container" >&2
    exit 1
fi
docker run --rm --interactive --network "container:$container" --memory 192m --log-driver none \
    --user 65534:65534 --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 128 \
    --entrypoint node "$image" -e "$program" >/dev/null

#!/bin/bash
# Apply the declared monitors of an Uptime Kuma: files/uptime-kuma/client.js runs beside it, in its network and from its image,
# with a memory limit of its own. The login and the actions come on standard input.
# usage: apply.sh CONTAINER PROGRAM
set -euo pipefail
container=$1 program=$2
image=$(docker inspect --format '{{if .State.Running}}{{.Image}}{{end}}' "$container" 2>/dev/null) || true
if [[ -z $image ]]; then
    cat >/dev/null
    echo "found no running container $container; expected one to declare monitors in: docker logs $container" >&2
    exit 1
fi
docker run --rm --interactive --network "container:$container" --memory 192m --log-driver none \
    --user 65534:65534 --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 128 \
    --entrypoint node "$image" -e "$program" >/dev/null

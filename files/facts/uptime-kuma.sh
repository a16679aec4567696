#!/bin/sh
# State of an Uptime Kuma: files/uptime-kuma/client.js runs beside it, in its network and from its image, with a memory
# limit of its own and its volume read-only. The login comes on standard input. Somebody else's container counts as absent,
# because a run sets it aside first.
# usage: uptime-kuma.sh CONTAINER PROGRAM yes|no     whether it must answer: without an answer, `no` reports it as absent
container=$1 program=$2 required=$3
running='{{if and (index .Config.Labels "stack.digest") .State.Running}}{{.Image}}{{end}}'
image=$(docker inspect --format "$running" "$container" 2>/dev/null)
if [ -z "$image" ]; then
    cat >/dev/null
    echo '{"absent": true}'
    exit 0
fi
login=$(cat)
query() {
    printf '%s' "$login" | docker run --rm --interactive --network "container:$container" --volumes-from "$container:ro" \
        --memory 192m --log-driver none \
        --user 65534:65534 --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 128 \
        --entrypoint node "$image" -e "$program"
}
query && exit
if [ "$required" = no ]; then
    echo '{"absent": true}'
    exit 0
fi
# Each failure is reported on standard error.
for _ in 1 2; do
    sleep 2
    query && exit
done
exit 1

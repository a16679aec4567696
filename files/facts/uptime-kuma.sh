#!/bin/sh
# State of an Uptime Kuma: files/uptime-kuma/client.js is run beside it, in its network and with its image, but within a
# memory limit of its own; its volume it can only read. The login comes on standard input. One that is somebody else's is none: a run sets it aside
# before it asks.
# usage: uptime-kuma.sh CONTAINER PROGRAM yes|no     whether it has to answer; one that need not is absent, too
container=$1 program=$2 required=$3
running='{{if and (index .Config.Labels "stack.digest") .State.Running}}{{.Image}}{{end}}'
image=$(docker inspect --format "$running" "$container" 2>/dev/null)
if [ -z "$image" ]; then
    cat >/dev/null
    echo '{"absent": true}'
    exit 0
fi
login=$(cat)
ask() {
    printf '%s' "$login" | docker run --rm --interactive --network "container:$container" --volumes-from "$container:ro" \
        --memory 192m --log-driver none \
        --user 65534:65534 --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 128 \
        --entrypoint node "$image" -e "$program"
}
ask && exit
if [ "$required" = no ]; then
    echo '{"absent": true}'
    exit 0
fi
# What went wrong is on standard error, each time.
for _ in 1 2; do
    sleep 2
    ask && exit
done
exit 1

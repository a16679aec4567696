#!/usr/bin/env bash
# Sets somebody else's container aside, so that its name is free: it is removed from every network, renamed, and Docker does
# not start it again. It and its volumes stay; sent by operations/adoption.py.
#
#     set-aside.sh STATE CONTAINER ASIDE KIND
#
# STATE is a private folder of the host, with what is needed to put the container back. KIND: a `redis` writes all its data
# to the append-only file, and its keys are counted, before it is stopped; a `postgres` goes on running, to be copied from;
# `-` is stopped. If this is killed anywhere, the next run continues.
set -euo pipefail
state=$1 container=$2 aside=$3 kind=$4

fail() {
    echo "$container: $*" >&2
    exit 1
}

running() { [[ $(docker inspect --format '{{.State.Running}}' -- "$container") == true ]]; }

# The password is on the command line of the container, in its environment or in its file. It is never an argument here.
redis() {
    local auth
    auth=$(docker inspect --format '{{json .Config.Entrypoint}} {{json .Config.Cmd}}' -- "$container" | tr '",[]' '    ' |
        sed -nE 's/.*--requirepass[ =]+([^ $]+).*/\1/p')
    # shellcheck disable=SC2016 # expanded in the container
    REDISCLI_AUTH=$auth docker exec --env REDISCLI_AUTH -- "$container" sh -c '
        [ -n "$REDISCLI_AUTH" ] || REDISCLI_AUTH=${REDIS_PASSWORD:-$(sed -n "s/^requirepass  *//p" \
            /usr/local/etc/redis/redis.conf /etc/redis/redis.conf 2>/dev/null | tail -n 1)}
        [ -n "$REDISCLI_AUTH" ] || unset REDISCLI_AUTH
        redis-cli --no-auth-warning "$@"' sh "$@" </dev/null | tr -d '\r'
}

umask 077
mkdir -p -- "$state"
exec 9>"$state/lock"
flock --wait 900 9 || fail "found another migration at work for 15 minutes, expected none"

if docker inspect --type container -- "$aside" >/dev/null 2>&1; then
    fail "found a container $aside, expected that name to be free: remove or rename one of the two"
fi
networks=$(docker inspect --format '{{range $name, $_ := .NetworkSettings.Networks}}{{println $name}}{{end}}' -- "$container")
if [[ ! -e $state/$container.networks ]]; then printf '%s\n' "$networks" | grep . >"$state/$container.networks" || true; fi
docker update --restart no -- "$container" >/dev/null
for network in $networks; do
    # A container cannot leave the network of the host, which gives it no name either.
    if [[ $network != host ]]; then docker network disconnect --force -- "$network" "$container"; fi
done

case $kind in
redis)
    if [[ ! -e $state/$container.keys ]]; then
        if ! running; then docker start -- "$container" >/dev/null; fi
        for _ in {1..120}; do
            answer=$(redis PING 2>&1) || true
            if [[ $answer == PONG ]]; then break; fi
            sleep 0.5
        done
        if [[ $answer != PONG ]]; then
            fail "found that its Redis answers $answer, expected PONG: give the container REDIS_PASSWORD in its environment"
        fi
        if [[ $(redis CONFIG GET appendonly | tail -n 1) != yes ]]; then
            redis CONFIG SET appendonly yes >/dev/null
            for _ in {1..600}; do
                info=$(redis INFO persistence)
                if grep -q '^aof_rewrite_in_progress:0' <<<"$info" && grep -q '^aof_rewrite_scheduled:0' <<<"$info"; then break; fi
                sleep 0.5
            done
            grep -q '^aof_last_bgrewrite_status:ok' <<<"$info" || fail "found that it cannot write its append-only file"
            # Once put back, it reads a snapshot as before, and no append-only file.
            [[ $(redis SAVE) == OK ]] || fail "found that it cannot write a snapshot, expected one to go back to"
        fi
        # Keys that expire may do so at any moment; the others must exist in the copy.
        redis INFO keyspace | sed -nE 's/^db([0-9]+):keys=([0-9]+),expires=([0-9]+),.*/\1 \2 \3/p' >"$state/$container.keys.part"
        mv -- "$state/$container.keys.part" "$state/$container.keys"
    fi
    docker stop --time 60 -- "$container" >/dev/null
    ;;
postgres) ;;
*) docker stop --time 60 -- "$container" >/dev/null ;;
esac
docker rename -- "$container" "$aside"
echo "$container: set aside as $aside, off every network; its volumes:" \
    "$(docker inspect --format '{{range .Mounts}}{{or .Name .Source}} {{end}}' -- "$aside")"

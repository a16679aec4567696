#!/usr/bin/env bash
# Copies the data that a stopped container has at a path into a volume of another name, and compares; sent by
# operations/adoption.py.
#
#     volume-copy.sh STATE CONTAINER PATH VOLUME PROJECT NAME [KEYS IMAGE]
#
# STATE is a private folder of the host, with a record for each complete volume. PROJECT and NAME are Compose's for the
# volume. With KEYS, a file of "index keys expiring" lines, a Redis from IMAGE reads the copy and must find these.
# If this is killed anywhere, the next run begins anew: it removes the copy, unless a container has it, and never the source.
set -euo pipefail
state=$1 container=$2 path=$3 volume=$4 project=$5 name=$6 keys=${7:-} image=${8:-}
record=$state/volumes/$volume scratch=migration-check

fail() {
    echo "$container: $*" >&2
    exit 1
}

# Type, mode, owner, path and target of links; then hashes of the files.
contents() (
    cd -- "$1"
    find . -mindepth 1 \( -type f -printf '%y %m %U:%G %s %p\n' -o -printf '%y %m %U:%G %p %l\n' \) | sort
    find . -type f -print0 | sort --zero-terminated | xargs --null --no-run-if-empty sha256sum
)

# shellcheck disable=SC2329 # called by the trap
clean_up() {
    docker rm --force -- "$scratch" >/dev/null 2>&1 || true
    rm -f -- "$record.from" "$record.to"
}

# Keys by index that a Redis finds in the copy, in the format of KEYS.
keys_of_the_copy() {
    # The entry point gives the files to its own user, and becomes that user. With options alone, an image starts its own
    # server, Redis or Valkey. The variable makes Valkey read files of Redis 7.4 and 8.
    docker run --detach --pull never --network none --name "$scratch" --volume "$volume:/data" --pids-limit 128 \
        --security-opt no-new-privileges --cap-drop ALL --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add SETGID \
        --cap-add SETUID --env 'VALKEY_EXTRA_FLAGS=--rdb-version-check relaxed' -- "$image" \
        --appendonly yes --port 0 --unixsocket /tmp/redis.sock --save '' >/dev/null
    local answer=''
    for _ in {1..240}; do
        answer=$(docker exec "$scratch" redis-cli -s /tmp/redis.sock PING 2>&1) || true
        if [[ $answer == PONG ]]; then break; fi
        sleep 0.5
    done
    if [[ $answer != PONG ]]; then
        docker logs --tail 10 -- "$scratch" >&2
        fail "found that $image cannot read its data (above), expected it read: nothing of it was touched"
    fi
    docker exec "$scratch" redis-cli -s /tmp/redis.sock INFO keyspace | tr -d '\r' |
        sed -nE 's/^db([0-9]+):keys=([0-9]+),expires=([0-9]+),.*/\1 \2 \3/p'
    docker stop --time 30 -- "$scratch" >/dev/null
}

umask 077
mkdir -p -- "$state/volumes"
exec 9>"$state/lock"
flock --wait 900 9 || fail "found another migration at work for 15 minutes, expected none"
if [[ -e $record ]]; then
    echo "$volume: holds the data of $container already"
    exit 0
fi
trap clean_up EXIT

from=$(docker inspect --format "{{range .Mounts}}{{if eq .Destination \"$path\"}}{{.Source}}{{end}}{{end}}" -- "$container")
[[ -n $from ]] || fail "found no volume at $path, expected one with its data: save what it holds by hand"
[[ $(docker inspect --format '{{.State.Running}}' -- "$container") == false ]] || fail "found it running, expected it stopped"
origin=$(docker volume inspect --format '{{index .Labels "migration.source"}}' -- "$volume" 2>/dev/null) || origin=''
if docker volume inspect -- "$volume" >/dev/null 2>&1; then
    to=$(docker volume inspect --format '{{.Mountpoint}}' -- "$volume")
    if [[ $origin != "$container" && -n $(find "$to" -mindepth 1 -print -quit) ]]; then
        fail "found a volume $volume that holds something else, expected none: it is not overwritten; save and remove it"
    fi
    docker rm --force -- "$scratch" >/dev/null 2>&1 || true # of a killed run
    users=$(docker ps --all --filter "volume=$volume" --format '{{.Names}}' | paste -sd ' ')
    if [[ -n $users ]]; then
        fail "found volume $volume with $users, and no record that it was copied, expected it to be unused: it is" \
            "not overwritten; where it is the copy that it should be, touch $record"
    fi
    if [[ $origin != "$container" ]]; then docker volume rm -- "$volume" >/dev/null; fi
fi
if [[ $origin != "$container" ]]; then
    docker volume create --label "migration.source=$container" --label keep=true \
        --label "com.docker.compose.project=$project" --label "com.docker.compose.volume=$name" "$volume" >/dev/null
fi
to=$(docker volume inspect --format '{{.Mountpoint}}' -- "$volume")
find "$to" -mindepth 1 -delete
size=$(du --summarize --block-size=1 -- "$from" | cut -f1) free=$(df --output=avail --block-size=1 -- "$to" | tail -n 1)
((free > size)) || fail "found $((free >> 20)) MiB free, expected $((size >> 20)) for a copy of its data: make room, and run again"
cp --archive -- "$from/." "$to"
contents "$from" >"$record.from"
contents "$to" >"$record.to"
cmp -s -- "$record.from" "$record.to" || fail "found a copy that differs from its data, expected the same: run again"
counted="$(wc -l <"$record.to") files"
if [[ -n $keys ]]; then
    found=$(keys_of_the_copy)
    # index, keys without and with a time to live; some of the latter may have expired by now.
    if ! wrong=$(awk '!NF { next } FILENAME == ARGV[1] { permanent[$1] = $2 - $3; expiring[$1] = $3; next }
        { seen[$1] = 1; if ($2 - $3 != permanent[$1] || $3 > expiring[$1]) { print "index " $1 ": " $2 - $3 " and " $3; bad = 1 } }
        END { for (i in permanent) if (!(i in seen) && permanent[i]) { print "index " i ": none"; bad = 1 }; exit bad }' \
        "$keys" - <<<"$found"); then
        fail "found other keys in the copy ($wrong) than were counted in $container, expected the same: nothing of it was touched"
    fi
    counted=$(awk 'NF { printf "%s%d keys in index %d", sep, $2, $1; sep = ", " }' <<<"$found")
fi
sync
printf 'copied %s from %s of %s\n' "$(date --utc +%FT%TZ)" "$path" "$container" >"$record.part"
mv -- "$record.part" "$record"
# The counts are of that moment, and must not be compared with another one.
if [[ -n $keys ]]; then rm -f -- "$keys"; fi
echo "$volume: holds the data of $container ($from, which stays): $counted"

#!/bin/sh
# State of a Redis in a container, for facts/redis.py.
# Arguments: container, user, file in the container with that user's password, and the names of settings.
set -u

command -v docker >/dev/null || exit 0
container=$1
shift
errors() { # error output of Docker or the client, after the answer
    output=$(cat)
    [ -z "$output" ] || printf '@@refusal\n%s\n' "$output"
}

exec 3>&1
docker exec -i "$container" sh -s "$@" 2>&1 >&3 3>&- <<'INSIDE' | errors
user=$1
REDISCLI_AUTH=$(cat "$2")
export REDISCLI_AUTH
shift 2
query() {
    redis-cli --user "$user" --no-auth-warning "$@" 2>&1
}

# A server that is just starting, or a busy machine, gets the query again; a refusal is an answer.
answer=$(query PING)
tries=0
until case $answer in PONG | *NOAUTH* | *WRONGPASS* | *NOPERM* | *'AUTH failed'*) true ;; *) false ;; esac ||
    [ "$tries" -ge 20 ]; do
    tries=$((tries + 1))
    sleep 0.5
    answer=$(query PING)
done
echo '@@ping'
echo "$answer"
if [ "$answer" = PONG ]; then
    echo '@@settings'
    query CONFIG GET "$@"
    echo '@@users'
    query ACL LIST

    # The users of the file, as this version of Redis writes them: each version writes them differently, so that texts
    # cannot be compared. A temporary server on a socket of its own reads the file.
    acl=$(query CONFIG GET aclfile | tail -n 1)
    echo '@@file'
    sha256sum <"$acl"
    scratch=$(mktemp -d)
    redis-server --port 0 --unixsocket "$scratch/socket" --dir "$scratch" --save '' --aclfile "$acl" \
        </dev/null >/dev/null 2>&1 &
    server=$!
    tries=0
    until [ "$(query -s "$scratch/socket" PING)" = PONG ] || [ "$tries" -ge 600 ] || ! kill -0 "$server" 2>/dev/null; do
        tries=$((tries + 1))
        sleep 0.05
    done
    echo '@@declared'
    query -s "$scratch/socket" ACL LIST
    kill "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    rm -rf "$scratch"
fi
INSIDE
exit 0

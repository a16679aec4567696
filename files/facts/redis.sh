#!/bin/sh
# What facts/redis.py asks of a Redis in a container.
# Arguments: container, user, file in the container with that user's password, and the names of settings.
set -u

command -v docker >/dev/null || exit 0
container=$1
shift
complaint() { # what Docker or the client say on standard error, after the answer
    said=$(cat)
    [ -z "$said" ] || printf '@@refusal\n%s\n' "$said"
}

exec 3>&1
docker exec -i "$container" sh -s "$@" 2>&1 >&3 3>&- <<'INSIDE' | complaint
user=$1
REDISCLI_AUTH=$(cat "$2")
export REDISCLI_AUTH
shift 2
ask() {
    redis-cli --user "$user" --no-auth-warning "$@" 2>&1
}

# A server that is just starting, or a busy machine, is asked again, as a client would; a refusal is an answer.
said=$(ask PING)
tries=0
until case $said in PONG | *NOAUTH* | *WRONGPASS* | *NOPERM* | *'AUTH failed'*) true ;; *) false ;; esac ||
    [ "$tries" -ge 20 ]; do
    tries=$((tries + 1))
    sleep 0.5
    said=$(ask PING)
done
echo '@@ping'
echo "$said"
if [ "$said" = PONG ]; then
    echo '@@settings'
    ask CONFIG GET "$@"
    echo '@@users'
    ask ACL LIST

    # What its file would make of it, in the words of this very version: each has its own, so that a text cannot be
    # compared. A server of a moment, on a socket of its own, reads the file.
    acl=$(ask CONFIG GET aclfile | tail -n 1)
    echo '@@file'
    sha256sum <"$acl"
    scratch=$(mktemp -d)
    redis-server --port 0 --unixsocket "$scratch/socket" --dir "$scratch" --save '' --aclfile "$acl" \
        </dev/null >/dev/null 2>&1 &
    server=$!
    tries=0
    until [ "$(ask -s "$scratch/socket" PING)" = PONG ] || [ "$tries" -ge 600 ] || ! kill -0 "$server" 2>/dev/null; do
        tries=$((tries + 1))
        sleep 0.05
    done
    echo '@@declared'
    ask -s "$scratch/socket" ACL LIST
    kill "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    rm -rf "$scratch"
fi
INSIDE
exit 0

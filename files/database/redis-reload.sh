#!/bin/bash
# Apply its files to a Redis in a container: settings one by one, then the users, or everything by a restart.
# Arguments: container, user, file in the container with that user's password.
# Standard input: settings that differ, "name value" a line.
set -euo pipefail
container=$1 user=$2 password_file=$3

# The password is read inside the container: no argument list has it.
# shellcheck disable=SC2016 # expanded in the container
query() {
    docker exec "$container" sh -c 'REDISCLI_AUTH=$(cat "$1") && export REDISCLI_AUTH && user=$2 && shift 2 &&
        exec redis-cli --user "$user" --no-auth-warning "$@" 2>&1' sh "$password_file" "$user" "$@" </dev/null
}

restart=
while read -r name value; do
    answer=$(query CONFIG SET "$name" "$value") || true
    [ "$answer" = OK ] || restart="${restart:+$restart, }$name"
done
if [ -z "$restart" ]; then
    answer=$(query ACL LOAD) || true
    case $answer in
    OK) ;;
    # The file has another password for this user than the running server.
    *NOAUTH* | *WRONGPASS* | *'AUTH failed'*) restart="the password of $user" ;;
    *)
        echo "Redis refuses its users, and keeps those it has: $answer" >&2
        exit 1
        ;;
    esac
fi
[ -n "$restart" ] || exit 0

echo "restart of $container for $restart"
docker restart --time 30 "$container" >/dev/null
# Docker checks at its own intervals: the next step must find the container healthy, and not starting.
health='{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}'
for _ in $(seq 120); do
    [ "$(query PING 2>/dev/null || true)" = PONG ] &&
        [ "$(docker inspect --format "$health" "$container")" = healthy ] && exit 0
    sleep 0.5
done
docker logs --tail 20 "$container" >&2
echo "Redis did not come back healthy within a minute" >&2
exit 1

#!/bin/bash
# Have a Redis in a container run with its files: settings one by one, then the users, else by a restart.
# Arguments: container, user, file in the container with that user's password.
# Standard input: settings that differ, "name value" a line.
set -euo pipefail
container=$1 user=$2 password_file=$3

# The password is read inside the container: no argument list here or there has it.
# shellcheck disable=SC2016 # expanded in the container
ask() {
    docker exec "$container" sh -c 'REDISCLI_AUTH=$(cat "$1") && export REDISCLI_AUTH && user=$2 && shift 2 &&
        exec redis-cli --user "$user" --no-auth-warning "$@" 2>&1' sh "$password_file" "$user" "$@" </dev/null
}

restart=
while read -r name value; do
    said=$(ask CONFIG SET "$name" "$value") || true
    [ "$said" = OK ] || restart="${restart:+$restart, }$name"
done
if [ -z "$restart" ]; then
    said=$(ask ACL LOAD) || true
    case $said in
    OK) ;;
    # The file has another password for us than the server that runs.
    *NOAUTH* | *WRONGPASS* | *'AUTH failed'*) restart="the password of $user" ;;
    *)
        echo "Redis refuses its users, and keeps those it has: $said" >&2
        exit 1
        ;;
    esac
fi
[ -n "$restart" ] || exit 0

echo "restart of $container for $restart"
docker restart --time 30 "$container" >/dev/null
# Docker asks it at times of its own: whoever looks next finds it well, and not starting.
well='{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}'
for _ in $(seq 120); do
    [ "$(ask PING 2>/dev/null || true)" = PONG ] &&
        [ "$(docker inspect --format "$well" "$container")" = healthy ] && exit 0
    sleep 0.5
done
docker logs --tail 20 "$container" >&2
echo "Redis did not come back healthy within a minute" >&2
exit 1

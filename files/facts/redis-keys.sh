#!/bin/sh
# Keys of a Redis in any container, for facts/redis_keys.py. Argument: the container. The password comes from the command
# line of the container, its environment or its file, and is not shown.
set -u
exec 2>/dev/null
container=$1
command -v docker >/dev/null || exit 0
status=$(docker inspect --type container --format '{{.State.Status}}' -- "$container") || exit 0
echo '@@status'
echo "$status"
[ "$status" = running ] || exit 0
REDISCLI_AUTH=$(docker inspect --format '{{json .Config.Entrypoint}} {{json .Config.Cmd}}' -- "$container" |
    tr '",[]' '    ' | sed -nE 's/.*--requirepass[ =]+([^ $]+).*/\1/p')
export REDISCLI_AUTH
# shellcheck disable=SC2016 # expanded in the container
docker exec --env REDISCLI_AUTH -- "$container" sh -c '
    [ -n "$REDISCLI_AUTH" ] || REDISCLI_AUTH=${REDIS_PASSWORD:-$(sed -n "s/^requirepass  *//p" \
        /usr/local/etc/redis/redis.conf /etc/redis/redis.conf | tail -n 1)}
    [ -n "$REDISCLI_AUTH" ] || unset REDISCLI_AUTH
    echo @@ping
    redis-cli --no-auth-warning PING 2>&1
    echo @@keyspace
    redis-cli --no-auth-warning INFO keyspace' </dev/null | tr -d '\r'
exit 0

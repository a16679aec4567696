#!/bin/sh
# What facts/redis_keys.py asks of a Redis in a container, whoever's it is. Argument: the container. Its password is taken
# from the command line that the container was made with, its environment or its file, and told to nobody.
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

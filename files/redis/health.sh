#!/bin/sh
# Health check of shared-redis, inside its container. While a script runs, the server answers no other client, so this ends a
# script that takes longer than busy-reply-threshold. If the script has written already, only the server can be ended: Docker
# starts it again, with all data but what that script wrote.
set -u
REDISCLI_AUTH=$(cat /etc/redis/admin.password)
export REDISCLI_AUTH
query() {
    redis-cli --user admin --no-auth-warning "$@" 2>&1
}

answer=$(query PING)
case $answer in
PONG) exit 0 ;;
*BUSY*)
    ended=$(query SCRIPT KILL)
    case $ended in
    *UNKILLABLE*) ended=$(query SHUTDOWN NOSAVE) ;;
    esac
    echo "ended a script that did not end: $ended"
    ;;
esac
echo "$answer"
exit 1

#!/bin/sh
# Health check of shared-redis, inside its container. While a script runs, the server answers nobody else: one that is not
# done after busy-reply-threshold is ended. Where it has written already, only the server can be: Docker starts it again, with
# everything but what that script wrote.
set -u
REDISCLI_AUTH=$(cat /etc/redis/admin.password)
export REDISCLI_AUTH
ask() {
    redis-cli --user admin --no-auth-warning "$@" 2>&1
}

said=$(ask PING)
case $said in
PONG) exit 0 ;;
*BUSY*)
    ended=$(ask SCRIPT KILL)
    case $ended in
    *UNKILLABLE*) ended=$(ask SHUTDOWN NOSAVE) ;;
    esac
    echo "ended a script that did not end: $ended"
    ;;
esac
echo "$said"
exit 1

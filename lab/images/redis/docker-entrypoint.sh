#!/bin/sh
# Start as Docker's image of Redis does: options or a configuration file alone mean redis-server, which never runs as root.
set -e

case ${1:-} in
-* | *.conf) set -- redis-server "$@" ;;
esac

if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . ! -user redis -exec chown redis '{}' +
    exec setpriv --reuid=redis --regid=redis --clear-groups -- "$0" "$@"
fi

# Dumps and append-only files are nobody else's business.
[ "$(umask)" = 0022 ] && umask 0077
exec "$@"

#!/bin/sh
# Start as Docker's image of Valkey does: options or a configuration file alone mean valkey-server, which never runs as root.
# Under its second name it is started as it is.
set -e

case ${1:-} in
-* | *.conf) set -- valkey-server "$@" ;;
esac

if [ "$1" = valkey-server ] && [ "$(id -u)" = 0 ]; then
    find . ! -user valkey -exec chown valkey '{}' +
    exec setpriv --reuid=valkey --regid=valkey --clear-groups -- "$0" "$@"
fi

# Dumps and append-only files are nobody else's business.
[ "$(umask)" = 0022 ] && umask 0077
# shellcheck disable=SC2086 # several, as there
exec "$@" ${VALKEY_EXTRA_FLAGS:-}

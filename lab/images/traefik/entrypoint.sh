#!/bin/sh
# As in Traefik's image: options alone, or one of its commands, need no `traefik` before them.
set -e
case ${1:-} in
-* | version | healthcheck) set -- traefik "$@" ;;
esac
exec "$@"

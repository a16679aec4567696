#!/bin/sh
# edoburu's image writes a configuration from its environment where none is mounted; this one wants a mounted one.
set -e

if [ ! -f /etc/pgbouncer/pgbouncer.ini ]; then
    echo 'Setup pgbouncer config error! mount /etc/pgbouncer/pgbouncer.ini' >&2
    exit 1
fi
exec "$@"

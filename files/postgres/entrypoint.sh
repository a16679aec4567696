#!/bin/sh
# Make the cluster on the first start, then become the server.
#
# POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD sets the superuser's password on the first start. Without one it has
# none, and logs in as the user `postgres` on the local socket only (docker exec).
#
# The cluster is a folder of the volume and takes its name when it is whole: an interrupted first start begins anew.
# Its locale is C.UTF-8, which orders by code point whatever the version of the C library: an index on text stays
# right when the image's base changes. Where French order is wanted, a query says COLLATE "fr-x-icu".
set -eu

volume=$(dirname "$PGDATA")

if [ -e "$volume/PG_VERSION" ]; then
    cat >&2 <<MESSAGE
postgres: found a cluster of another image at the root of the volume (major $(cat "$volume/PG_VERSION")).
Expected an empty volume, or one of this image. Indexes on text are not safe under another C library:
dump it with the image it was made with, and restore the dump into a new volume.
MESSAGE
    exit 1
fi

if [ -e "$PGDATA/PG_VERSION" ] && [ "$(cat "$PGDATA/PG_VERSION")" != "$PG_MAJOR" ]; then
    echo "postgres: found a cluster of major $(cat "$PGDATA/PG_VERSION"), expected $PG_MAJOR: dump it with an image" \
        "of its major, and restore the dump into a new volume" >&2
    exit 1
fi

if [ ! -e "$PGDATA/PG_VERSION" ]; then
    building=$volume/cluster.new
    rm -rf "$building"
    password=${POSTGRES_PASSWORD:-}
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        password=$(cat "$POSTGRES_PASSWORD_FILE")
    fi
    initialise() {
        initdb --pgdata="$building" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
            --auth-local=peer --auth-host=scram-sha-256 "$@"
    }
    if [ -n "$password" ]; then
        # A here-document is a file of this process alone: neither `ps` nor the volume sees the password.
        initialise --pwfile=/dev/fd/3 3<<PASSWORD
$password
PASSWORD
    else
        initialise
    fi
    mv "$building" "$PGDATA"
fi
unset POSTGRES_PASSWORD POSTGRES_PASSWORD_FILE

exec "$@"

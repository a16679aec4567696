#!/bin/bash
# Have a Postgres in a container read its settings again, and restart it where one of them needs that.
# Argument: the container. Standard input: SQL that comes first (settings that somebody put over the file's).
set -euo pipefail

ask() {
    docker exec --interactive "$1" psql --username=postgres --dbname=postgres --no-psqlrc --quiet --tuples-only \
        --no-align --set ON_ERROR_STOP=1 --set VERBOSITY=terse --file=-
}

{ cat; echo 'SELECT FROM pg_reload_conf();'; } | ask "$1" >/dev/null
# The postmaster reads its files a moment after it was told to.
sleep 1
pending=$(ask "$1" <<<"SELECT string_agg(name, ', ') FROM pg_settings WHERE pending_restart")
wrong=$(ask "$1" <<<"SELECT string_agg(coalesce(name || ': ', '') || error, '; ') FROM pg_file_settings
    WHERE error IS NOT NULL AND error <> 'setting could not be applied'")
if [ -n "$wrong" ]; then
    echo "Postgres refuses its settings: $wrong" >&2
    exit 1
fi
if [ -n "$pending" ]; then
    echo "restart of $1 for $pending"
    docker restart --time 60 "$1" >/dev/null
    for _ in $(seq 120); do
        # Over TCP: while the server recovers, its socket is there already.
        docker exec "$1" pg_isready --quiet --host=127.0.0.1 && exit 0
        sleep 0.5
    done
    docker logs --tail 20 "$1" >&2
    echo "Postgres did not come back within a minute" >&2
    exit 1
fi

#!/bin/bash
# Make a Postgres in a container read its settings again, and restart it if one of them requires that.
# Argument: the container. Standard input: SQL that runs first (it resets settings that override the file).
set -euo pipefail

run_sql() {
    docker exec --interactive "$1" psql --username=postgres --dbname=postgres --no-psqlrc --quiet --tuples-only \
        --no-align --set ON_ERROR_STOP=1 --set VERBOSITY=terse --file=-
}

{ cat; echo 'SELECT FROM pg_reload_conf();'; } | run_sql "$1" >/dev/null
# The postmaster reads its files a moment after the call.
sleep 1
pending=$(run_sql "$1" <<<"SELECT string_agg(name, ', ') FROM pg_settings WHERE pending_restart")
wrong=$(run_sql "$1" <<<"SELECT string_agg(coalesce(name || ': ', '') || error, '; ') FROM pg_file_settings
    WHERE error IS NOT NULL AND error <> 'setting could not be applied'")
if [ -n "$wrong" ]; then
    echo "Postgres refuses its settings: $wrong" >&2
    exit 1
fi
if [ -n "$pending" ]; then
    echo "restart of $1 for $pending"
    docker restart --time 60 "$1" >/dev/null
    for _ in $(seq 120); do
        # Over TCP: during the recovery of the server, its socket exists already.
        docker exec "$1" pg_isready --quiet --host=127.0.0.1 && exit 0
        sleep 0.5
    done
    docker logs --tail 20 "$1" >&2
    echo "Postgres did not come back within a minute" >&2
    exit 1
fi

#!/bin/bash
# Run SQL from standard input in the Postgres of a container, as its superuser on the local socket.
# Argument: the container. An error ends it; the message does not have the statement, which may hold a verifier.
# Settings that an owner made for a database do not apply: no search_path with functions of the owner, no other role.
set -euo pipefail

if ! docker exec "$1" pg_isready --quiet --timeout=30; then
    cat >/dev/null
    echo "no Postgres answers in the container $1; expected it running: docker logs --tail 20 $1" >&2
    exit 1
fi
exec docker exec --interactive \
    --env PGOPTIONS='-c search_path=public -c role=none -c statement_timeout=0 -c default_transaction_read_only=off' \
    "$1" psql --username=postgres --dbname=postgres --no-psqlrc --quiet --tuples-only \
    --no-align --set ON_ERROR_STOP=1 --set VERBOSITY=terse --file=-

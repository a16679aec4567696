#!/bin/bash
# Run what standard input says in the Postgres of a container, as its superuser on the local socket.
# Argument: the container. An error stops it; its message comes without the statement, which may hold a verifier.
# What an owner set for his database does not hold here: no search_path with functions of his own, no other role.
set -euo pipefail

if ! docker exec "$1" pg_isready --quiet --timeout=30; then
    cat >/dev/null
    echo "no Postgres answers in the container $1; wanted it running: docker logs --tail 20 $1" >&2
    exit 1
fi
exec docker exec --interactive \
    --env PGOPTIONS='-c search_path=public -c role=none -c statement_timeout=0 -c default_transaction_read_only=off' \
    "$1" psql --username=postgres --dbname=postgres --no-psqlrc --quiet --tuples-only \
    --no-align --set ON_ERROR_STOP=1 --set VERBOSITY=terse --file=-

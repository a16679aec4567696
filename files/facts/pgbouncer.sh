#!/bin/sh
# Whether each database answers through PgBouncer. Arguments: a container with psql, the pooler's host and port, the role
# that logs in, a file in the container with its password (pgpass), and the databases.
set -u

command -v docker >/dev/null || exit 0
container=$1
shift
# Docker's own error comes before the first database, if it cannot run the client.
echo "@@database"
docker exec -i "$container" sh -s "$@" 2>&1 <<'INSIDE' || echo "the client in $container ended with $?"
PGHOST=$1 PGPORT=$2 PGUSER=$3 PGPASSFILE=$4 PGCONNECT_TIMEOUT=5
export PGHOST PGPORT PGUSER PGPASSFILE PGCONNECT_TIMEOUT
shift 4
for database in "$@"; do
    echo "@@database $database"
    PGDATABASE=$database psql --no-psqlrc --quiet --tuples-only --no-align --no-password \
        --command 'SELECT current_database()' 2>&1 </dev/null || echo "psql ended with $?"
done
INSIDE
exit 0

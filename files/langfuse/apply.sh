#!/bin/bash
# Change projects and keys in the database of a Langfuse, and delete these keys from its cache.
# Arguments: container of Langfuse, of its Postgres, of its Redis; a user of that Redis, the file in its container with that
# user's password, and the index of Langfuse.
# Standard input: SQL, a line of hashes ("-- cached HASH …"), and SQL for after that.
set -euo pipefail
changes=$(cat)
container=$1 postgres=$2 redis=$3 user=$4 password_file=$5 index=$6

environment=$(docker inspect --type container --format '{{range .Config.Env}}{{println .}}{{end}}' "$container")
# libpq does not know Prisma's own parameters.
url=$(sed -n 's/^DATABASE_URL=\([^?]*\).*/\1/p' <<<"$environment")

# With Langfuse's own login; no argument list has its password.
run_sql() {
    { printf "%s '%s'\n" '\connect' "$url" && cat; } |
        docker exec --interactive "$postgres" psql --username=postgres --dbname=postgres --no-password --no-psqlrc --quiet \
            --tuples-only --no-align --set ON_ERROR_STOP=1 --set VERBOSITY=terse --file=-
}

# The API of Langfuse answers from this cache, and each request prolongs an entry: without this it would never expire.
clear_cache() {
    # shellcheck disable=SC2016 # expanded in the container
    docker exec "$redis" sh -c 'REDISCLI_AUTH=$(cat "$1") && export REDISCLI_AUTH && user=$2 && index=$3 && shift 3 &&
        exec redis-cli --user "$user" --no-auth-warning -n "$index" DEL "$@"' sh "$password_file" "$user" "$index" "$@" </dev/null
}

run_sql <<<"${changes%%-- cached*}"
hashes=$(sed -n 's/^-- cached//p' <<<"$changes")
if [ -n "$hashes" ]; then
    # shellcheck disable=SC2046,SC2086 # a word for each
    answer=$(clear_cache $(printf 'api-key:%s ' $hashes))
    if [[ ! $answer =~ ^[0-9]+$ ]]; then
        echo "Langfuse's keys in $redis: found ${answer:-no answer}, expected them deleted from its cache: docker logs --tail 20 $redis" >&2
        exit 1
    fi
fi
run_sql <<<"${changes#*-- cached*$'\n'}"

#!/bin/bash
# Change projects and keys in the database of a Langfuse, and have it forget what it has cached of these keys.
# Arguments: container of Langfuse, of its Postgres, of its Redis; there a user, the file in the container with that user's
# password, and the index that Langfuse has.
# Standard input: SQL, a line of hashes ("-- cached HASH …"), and SQL for after that.
set -euo pipefail
changes=$(cat)
container=$1 postgres=$2 redis=$3 user=$4 password_file=$5 index=$6

environment=$(docker inspect --type container --format '{{range .Config.Env}}{{println .}}{{end}}' "$container")
# Prisma's own parameters are none of libpq's.
url=$(sed -n 's/^DATABASE_URL=\([^?]*\).*/\1/p' <<<"$environment")

# With Langfuse's own login; no argument list has its password.
say() {
    { printf "%s '%s'\n" '\connect' "$url" && cat; } |
        docker exec --interactive "$postgres" psql --username=postgres --dbname=postgres --no-password --no-psqlrc --quiet \
            --tuples-only --no-align --set ON_ERROR_STOP=1 --set VERBOSITY=terse --file=-
}

# Its API answers from this cache, and each question makes an entry last longer: what is not forgotten here is never.
forget() {
    # shellcheck disable=SC2016 # expanded in the container
    docker exec "$redis" sh -c 'REDISCLI_AUTH=$(cat "$1") && export REDISCLI_AUTH && user=$2 && index=$3 && shift 3 &&
        exec redis-cli --user "$user" --no-auth-warning -n "$index" DEL "$@"' sh "$password_file" "$user" "$index" "$@" </dev/null
}

say <<<"${changes%%-- cached*}"
hashes=$(sed -n 's/^-- cached//p' <<<"$changes")
if [ -n "$hashes" ]; then
    # shellcheck disable=SC2046,SC2086 # a word for each
    answer=$(forget $(printf 'api-key:%s ' $hashes))
    if [[ ! $answer =~ ^[0-9]+$ ]]; then
        echo "Langfuse's keys in $redis: found ${answer:-no answer}, wanted them forgotten: docker logs --tail 20 $redis" >&2
        exit 1
    fi
fi
say <<<"${changes#*-- cached*$'\n'}"

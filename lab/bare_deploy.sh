#!/usr/bin/env bash
# The floor of `make bench-first`: what phases litellm and monitoring cannot do without, in one go and without a look at
# what is there: pulls, the build of Postgres' image, its databases, `compose up`. Run by lab/first_deploy.py.
#
#     bare_deploy.sh ROOT IMAGE MAJOR PGDG DATABASES STACK...
#
# Standard input: a tar archive with the stacks' folders, build/ with a Dockerfile, and globals.sql.
set -euo pipefail
root=$1 image=$2 major=$3 pgdg=$4 databases=$5
shift 5

mkdir -p -- "$root"
tar -x -C "$root" -f -
up() { docker compose --project-directory "$root/$1" --file "$root/$1/compose.yaml" up --detach --wait --quiet-pull; }

docker build --quiet --tag "$image" --build-arg "MAJOR=$major" --build-arg "PGDG=$pgdg" "$root/build"
for stack in "$@"; do
    docker compose --file "$root/$stack/compose.yaml" pull --quiet --ignore-buildable --ignore-pull-failures &
done
wait
for stack in "$@"; do
    up "$stack"
    if [[ $stack == postgres ]]; then
        docker exec -i shared-postgres psql -Xq -U postgres <"$root/globals.sql" 2>/dev/null || true # one role is there
        for database in $databases; do
            docker exec shared-postgres createdb -U postgres -O "$database" "$database"
        done
    fi
done

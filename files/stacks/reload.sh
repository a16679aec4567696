#!/usr/bin/env bash
# Makes a container read its files again, and records that; sent by operations/stacks.py.
#
#     reload.sh FOLDER CONTAINER COMMAND...
#
# FOLDER has the record: a file with the name of the container.
set -euo pipefail
folder=$1 container=$2
shift 2

if ! timeout 60 docker exec -- "$container" "$@"; then
    docker logs --tail 20 -- "$container" 2>&1 | tr -d '\000-\010\013-\037' >&2
    echo "$container: found that it does not take its changed files ($*); its last lines are above" >&2
    exit 1
fi
mkdir -p -- "$folder"
touch -- "$folder/$container"
echo "$container: has read its files again"

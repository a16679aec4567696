#!/bin/sh
# Which images of those named by the arguments are on the host: reference and id.
set -u

for reference in "$@"; do
    if id=$(docker image inspect --format '{{.Id}}' -- "$reference" 2>/dev/null); then
        echo "$reference $id"
    fi
done

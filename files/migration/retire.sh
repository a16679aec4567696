#!/usr/bin/env bash
# Stops containers for good: Docker does not start them again, not even at boot; sent by operations/adoption.py.
#
#     retire.sh CONTAINER...
set -euo pipefail

for container in "$@"; do
    docker update --restart no -- "$container" >/dev/null
    docker stop --time 60 -- "$container" >/dev/null
    echo "$container: stopped, and kept with its volumes:" \
        "$(docker inspect --format '{{range .Mounts}}{{or .Name .Source}} {{end}}' -- "$container")"
done

#!/usr/bin/env bash
# Stops containers one after the other, each with the time that it has to end by itself; sent by operations/containers.py.
#
#     stop.sh CONTAINER...
set -euo pipefail

for container in "$@"; do
    docker stop -- "$container" >/dev/null
    echo "$container: stopped"
done

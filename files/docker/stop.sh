#!/usr/bin/env bash
# Stops containers one after the other, each with its own grace period; sent by operations/containers.py.
#
#     stop.sh CONTAINER...
set -euo pipefail

for container in "$@"; do
    docker stop -- "$container" >/dev/null
    echo "$container: stopped"
done

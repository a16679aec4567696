#!/usr/bin/env bash
# Creates networks without a route to the outside, for containers that only reach each other; sent by operations/stacks.py.
#
#     networks.sh NETWORK...
set -euo pipefail
for network in "$@"; do
    docker network create --driver bridge --internal -- "$network" >/dev/null
    echo "network $network created"
done

#!/usr/bin/env bash
# Makes networks without a way out, for containers that speak to each other only; sent by operations/stacks.py.
#
#     networks.sh NETWORK...
set -euo pipefail
for network in "$@"; do
    docker network create --driver bridge --internal -- "$network" >/dev/null
    echo "made network $network"
done

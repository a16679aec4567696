#!/usr/bin/env bash
# Pull the images named by the arguments.
set -euo pipefail

for reference in "$@"; do
    if ! docker pull -- "$reference"; then
        echo "found no way to pull $reference: check that it exists, and whether its registry requires a login" >&2
        exit 1
    fi
done

#!/bin/bash
# Write nginx' listening addresses for containers: Docker's bridge, which they call host.docker.internal.
# $1: the file, then the ports. ollama-filter.service runs this before nginx starts, and before it reads its files again.
set -euo pipefail
file=$1
shift

address=$(ip -4 -oneline address show dev docker0 2>/dev/null | awk '{ sub("/.*", "", $4); print $4; exit }') || true
if [[ -z $address ]]; then
    printf '%s\n' "found:    no address on docker0" "expected: Docker's bridge, through which containers come" \
        "fix:      systemctl start docker; this unit tries again by itself" >&2
    exit 1
fi
printf "listen $address:%s;\n" "$@" >"$file.new"
mv "$file.new" "$file"

#!/usr/bin/env bash
# Builds an image; sent by operations/stacks.py.
#
#     build.sh REFERENCE LABEL [ARGUMENT=VALUE...]
#
# Standard input: the folder of the Dockerfile, as a tar archive in base64.
set -euo pipefail
reference=$1 label=$2
shift 2

arguments=()
for argument in "$@"; do
    arguments+=(--build-arg "$argument")
done
if ! base64 -d | docker build --progress plain --tag "$reference" --label "$label" "${arguments[@]}" -; then
    echo "$reference: found that its image cannot be built; the last step above says why" >&2
    exit 1
fi

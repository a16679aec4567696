#!/usr/bin/env bash
# Runs the program that saves the data that a step could lose; sent by operations/backup.py.
#
#     save-first.sh PROGRAM PIECE...
set -euo pipefail

echo "saving first: ${*:2}"
if ! "$@" </dev/null; then
    {
        echo "found that $1 failed, expected a backup before a step that could lose data; nothing was changed."
        echo "A container that does not run cannot be saved: see \`docker logs\`. After \`docker rm -f\` of it, its volumes"
        echo "stay, and a run creates it anew"
    } >&2
    exit 1
fi

#!/usr/bin/env bash
# Runs the program that saves what a step could lose; sent by operations/backup.py.
#
#     save-first.sh PROGRAM PIECE...
set -euo pipefail

echo "saving first: ${*:2}"
if ! "$@" </dev/null; then
    {
        echo "found that $1 failed, wanted a backup before something is done that could lose data; nothing was changed."
        echo "What does not run cannot be saved: \`docker logs\` says why. After \`docker rm -f\` of that container, whose"
        echo "volumes stay, a run makes it anew"
    } >&2
    exit 1
fi

#!/bin/sh
# List all backups, the oldest of each piece first.
here=$(dirname "$(readlink -f "$0")")
PYTHONPATH=$here exec python3 -m backups list "$@"

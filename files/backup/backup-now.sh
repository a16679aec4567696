#!/bin/sh
# Save pieces, or everything, before something is done that could lose it: backup-now.sh [PIECE...]. Nobody is told.
here=$(dirname "$(readlink -f "$0")")
PYTHONPATH=$here exec python3 -m backups now "$@"

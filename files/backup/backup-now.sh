#!/bin/sh
# Save pieces, or everything, before a step that could lose data: backup-now.sh [PIECE...]. It notifies nobody.
here=$(dirname "$(readlink -f "$0")")
PYTHONPATH=$here exec python3 -m backups now "$@"

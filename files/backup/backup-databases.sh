#!/bin/sh
# Save every database, Redis, bucket and volume; cron runs it at night.
here=$(dirname "$(readlink -f "$0")")
PYTHONPATH=$here exec python3 -m backups databases "$@"

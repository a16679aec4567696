#!/bin/sh
# Replace a database by a backup of it: restore.sh DATABASE FROM [--yes]. Without --yes it only checks whether it
# could. FROM is the time of a backup as `backup-list.sh` shows it, or "newest".
here=$(dirname "$(readlink -f "$0")")
PYTHONPATH=$here exec python3 -m backups restore "$@"

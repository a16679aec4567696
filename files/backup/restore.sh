#!/bin/sh
# Put a database in the place of the one that is there: restore.sh DATABASE FROM [--yes]. Without --yes it only says
# whether it could. FROM is the time of a backup as `backup-list.sh` shows it, or "newest".
here=$(dirname "$(readlink -f "$0")")
PYTHONPATH=$here exec python3 -m backups restore "$@"

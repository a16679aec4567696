#!/bin/sh
# Restore the newest backups into scratch containers and compare; cron runs it on Sundays.
here=$(dirname "$(readlink -f "$0")")
PYTHONPATH=$here exec python3 -m backups test "$@"

#!/bin/sh
# Measures once everything that has a limit; cron runs it every five minutes, one at a time.
exec python3 "$(dirname "$(readlink -f "$0")")/watch.py" "$@"

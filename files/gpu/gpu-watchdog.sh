#!/bin/sh
# Looks at the GPUs and at what computes on them once; cron runs it every five minutes, one at a time.
exec python3 "$(dirname "$(readlink -f "$0")")/gpu_watchdog.py" "$@"

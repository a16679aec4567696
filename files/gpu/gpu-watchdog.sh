#!/bin/sh
# Checks the GPUs and what computes on them once; cron runs it every five minutes, one at a time.
exec python3 "$(dirname "$(readlink -f "$0")")/gpu_watchdog.py" "$@"

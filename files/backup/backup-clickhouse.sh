#!/bin/sh
# Save the tables of ClickHouse; cron runs it at night.
here=$(dirname "$(readlink -f "$0")")
PYTHONPATH=$here exec python3 -m backups clickhouse "$@"

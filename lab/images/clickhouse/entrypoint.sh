#!/bin/bash
# As in ClickHouse's image: fix the owner of the data, leave root, serve.
set -euo pipefail

if [[ $# -gt 0 && $1 != --* ]]; then
    exec "$@"
fi
server=(/opt/clickhouse/bin/python -m standin.server)
if [[ $(id -u) != 0 ]]; then
    exec "${server[@]}"
fi
# Disks of the configuration, too.
configured=$(sed --quiet 's|.*<path>\(/[^<]*\)</path>.*|\1|p' /etc/clickhouse-server/config.xml /etc/clickhouse-server/config.d/*.xml 2>/dev/null || true)
for directory in /var/log/clickhouse-server $configured; do
    mkdir --parents "$directory"
    if [[ $(stat --format=%u "$directory") != 101 ]]; then
        chown --recursive clickhouse:clickhouse "$directory"
    fi
done
exec setpriv --reuid=clickhouse --regid=clickhouse --clear-groups -- "${server[@]}"

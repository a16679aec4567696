#!/bin/sh
# Available memory, and which of some containers run. Arguments: names of containers.
set -u

echo '@@available'
grep '^MemAvailable:' /proc/meminfo
command -v docker >/dev/null || exit 0
echo '@@running'
for name in "$@"; do
    [ "$(docker inspect --type container --format '{{.State.Running}}' "$name" 2>/dev/null)" = true ] && echo "$name"
done
exit 0

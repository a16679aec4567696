#!/bin/sh
# State of each Ollama instance, and the card on which its programs compute. Arguments: ports.
set -u

query() { # one line of JSON, or an empty one
    curl --silent --fail --connect-timeout 2 --max-time 5 --noproxy '*' "http://127.0.0.1:$1$2" | tr -d '\n'
    echo
}

if command -v curl >/dev/null; then
    for port in "$@"; do
        echo "@@instance $port"
        for path in /api/version /api/tags /api/ps; do
            query "$port" "$path"
        done
    done
fi

if command -v nvidia-smi >/dev/null; then
    echo '@@processes'
    timeout 30 nvidia-smi --query-compute-apps=gpu_uuid,pid --format=csv,noheader |
        while IFS=', ' read -r gpu pid; do
            # The control group has the unit of a process: the runners are children of the server.
            # (A line for each hierarchy of version 1; the last folder of the path that is a service.)
            unit=$(grep -o '[^/]*\.service' "/proc/$pid/cgroup" 2>/dev/null | tail -n 1)
            echo "$gpu $pid $unit"
        done
fi
exit 0

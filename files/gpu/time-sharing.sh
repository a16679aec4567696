#!/bin/bash
# Test that an Ollama instance yields its card to a container and takes it back: unload its model, check that the card's
# memory is free and that the container has that card, load the model again, and record the success.
# Arguments: port of the instance, its model, full UUID of the card, MiB that must be free, container, seconds that the
# model may take to answer again, lock of the GPU watchdog, file of the record, text of the record.
set -euo pipefail
port=$1 model=$2 uuid=$3 mib=$4 container=$5 answer_s=$6 lock=$7 record=$8 text=$9

url=http://127.0.0.1:$port
die() {
    printf 'found:    %s\nexpected: %s\nfix:      %s\n' "$1" "$2" "$3" >&2
    exit 1
}
request() { # path, data, seconds
    curl --silent --show-error --fail --noproxy '*' --max-time "${3:-10}" ${2:+--data "$2"} "$url$1"
}
loaded() { request /api/ps | grep -qF "\"name\":\"$model\""; }
free_mib() { # free and not unused: the driver keeps some for itself; 0 without a number in its answer
    timeout 30 nvidia-smi --id="$uuid" --query-gpu=memory.free --format=csv,noheader,nounits | awk '{ print $1 + 0 }'
}
within() { # seconds, command: whether it succeeds within them
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.5
    done
}
unloaded() { ! loaded; }
enough() { (($(free_mib) >= mib)); }

# For the watchdog, an instance without its model would be broken.
exec 9>"$lock"
flock -w 300 9 || die "$lock held for 300 s" "the GPU watchdog to end" "see who holds it: fuser $lock"

# Whatever happens, the model is loaded at the end.
reload() { request /api/generate "{\"model\":\"$model\",\"keep_alive\":-1,\"stream\":false}" 120 >/dev/null || true; }
trap reload EXIT

request /api/generate "{\"model\":\"$model\",\"keep_alive\":0,\"stream\":false}" 60 >/dev/null ||
    die "no answer of Ollama on port $port" "its API" "journalctl -u 'ollama@*' -n 50"
within 30 unloaded || die "$model still loaded after 30 s" "it to leave its card" "curl $url/api/ps"
within 30 enough || die "$(free_mib) MiB free on $uuid" "$mib MiB without $model" "nvidia-smi shows who has the rest"
echo "$model left $uuid: $(free_mib) MiB free, $mib needed"

# The engine sets the variable for the container's main process, and not for `docker exec`.
seen=$(docker exec "$container" cat /proc/1/environ | tr '\0' '\n' | sed -n 's/^NVIDIA_VISIBLE_DEVICES=//p' || true)
[ "$seen" = "$uuid" ] || die "container $container with ${seen:-no card}" "$uuid" "docker inspect $container"
echo "$container has that card"

started=$(date +%s%N)
request /api/generate "{\"model\":\"$model\",\"keep_alive\":-1,\"stream\":false,\"prompt\":\"ready?\",\"options\":{\"num_predict\":1}}" \
    "$answer_s" >/dev/null || die "no answer of $model within $answer_s s" "one" "journalctl -u 'ollama@*' -n 50"
loaded || die "$model not in memory after it answered" "it resident again" "curl $url/api/ps"
echo "$model answered again after $((($(date +%s%N) - started) / 1000000)) ms"

trap - EXIT
mkdir -p "$(dirname "$record")"
printf '%s\n' "$text" >"$record.new"
mv "$record.new" "$record"

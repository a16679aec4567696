#!/bin/bash
# Try that an Ollama instance gives its card to a container and takes it back: unload its model, see that the card's
# memory is free and that the container has that card, load the model again. A mark of the success is left.
# Arguments: port of the instance, its model, full UUID of the card, MiB that have to be free, container, seconds that
# the model may take to answer again, lock that the GPU watchdog takes, file of the mark, what is written to it.
set -euo pipefail
port=$1 model=$2 uuid=$3 mib=$4 container=$5 answer_s=$6 lock=$7 mark=$8 text=$9

url=http://127.0.0.1:$port
die() {
    printf 'found:    %s\nexpected: %s\nfix:      %s\n' "$1" "$2" "$3" >&2
    exit 1
}
ask() { # path, data, seconds
    curl --silent --show-error --fail --noproxy '*' --max-time "${3:-10}" ${2:+--data "$2"} "$url$1"
}
loaded() { ask /api/ps | grep -qF "\"name\":\"$model\""; }
free_mib() { # not what is unused: the driver keeps some for itself; 0 where it does not answer with a number
    timeout 30 nvidia-smi --id="$uuid" --query-gpu=memory.free --format=csv,noheader,nounits | awk '{ print $1 + 0 }'
}
until_true() { # seconds, command: whether it holds within them
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.5
    done
}
unloaded() { ! loaded; }
enough() { (($(free_mib) >= mib)); }

# The watchdog would take an instance without its model for a broken one.
exec 9>"$lock"
flock -w 300 9 || die "$lock held for 300 s" "the GPU watchdog to end" "look who holds it: fuser $lock"

# Whatever happens, the model is back at the end.
back() { ask /api/generate "{\"model\":\"$model\",\"keep_alive\":-1,\"stream\":false}" 120 >/dev/null || true; }
trap back EXIT

ask /api/generate "{\"model\":\"$model\",\"keep_alive\":0,\"stream\":false}" 60 >/dev/null ||
    die "no answer of Ollama on port $port" "its API" "journalctl -u 'ollama@*' -n 50"
until_true 30 unloaded || die "$model still loaded after 30 s" "it to leave its card" "curl $url/api/ps"
until_true 30 enough || die "$(free_mib) MiB free on $uuid" "$mib MiB without $model" "nvidia-smi shows who has the rest"
echo "$model left $uuid: $(free_mib) MiB free, $mib wanted"

# The engine tells the container's own process; what is only executed in there has not been told.
seen=$(docker exec "$container" cat /proc/1/environ | tr '\0' '\n' | sed -n 's/^NVIDIA_VISIBLE_DEVICES=//p' || true)
[ "$seen" = "$uuid" ] || die "container $container with ${seen:-no card}" "$uuid" "docker inspect $container"
echo "$container has that card"

started=$(date +%s%N)
ask /api/generate "{\"model\":\"$model\",\"keep_alive\":-1,\"stream\":false,\"prompt\":\"ready?\",\"options\":{\"num_predict\":1}}" \
    "$answer_s" >/dev/null || die "no answer of $model within $answer_s s" "one" "journalctl -u 'ollama@*' -n 50"
loaded || die "$model not in memory after it answered" "it resident again" "curl $url/api/ps"
echo "$model answered again after $((($(date +%s%N) - started) / 1000000)) ms"

trap - EXIT
mkdir -p "$(dirname "$mark")"
printf '%s\n' "$text" >"$mark.new"
mv "$mark.new" "$mark"

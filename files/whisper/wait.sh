#!/bin/bash
# Wait until openai-whisper-asr-webservice answers. $1: its container, $2: its port on the loopback, $3: seconds to wait
# at most, $4: the unit that runs it.
#
# It answers once its model is in memory. At the first start it downloads the model before, which may take long.
set -euo pipefail

readonly container=$1 port=$2 patience=$3 unit=$4
readonly pause=${WHISPER_PAUSE:-2} # seconds between two checks
readonly lives=3                   # containers that may end before it counts as broken

answers() {
    curl --silent --fail --output /dev/null --max-time 10 --noproxy '*' "http://127.0.0.1:$port/docs"
}

die() {
    printf '%s: last log lines:\n' "$unit" >&2
    journalctl --no-pager --quiet --lines=20 --output=cat --unit="$unit" 2>&1 | sed 's/^/    /' >&2 || true
    printf '%s\n' "found:    $1" "expected: an answer on http://127.0.0.1:$port/docs" \
        "fix:      see its log lines above; if the download fails, run again: it continues" >&2
    exit 1
}

# Size of its cache of models, in MiB.
cached() {
    # shellcheck disable=SC2016 # expanded in the container
    docker exec "$container" sh -c 'du -sm "$ASR_MODEL_PATH"' 2>/dev/null | cut -f 1
}

deadline=$((SECONDS + patience))
seen='' ended=0 reported=-1
until answers; do
    ((SECONDS < deadline)) || die "no answer within $patience s"
    state=$(systemctl show --value --property=ActiveState -- "$unit")
    [[ $state == active || $state == activating ]] || die "$unit is $state"
    id=$(docker inspect --type container --format '{{.Id}}' -- "$container" 2>/dev/null) || id=''
    if [[ -n $id && $id != "$seen" ]]; then
        [[ -z $seen ]] || ended=$((ended + 1))
        ((ended < lives)) || die "$ended containers that ended before they answered"
        seen=$id
    fi
    size=$(cached) || size=''
    if [[ -n $size ]] && ((size / 100 > reported)); then
        reported=$((size / 100))
        echo "$container: not answering yet, $size MiB of models in its cache"
    fi
    sleep "$pause"
done
echo "$container: answers"

#!/bin/bash
# Wait until openai-whisper-asr-webservice answers. $1: its container, $2: its port on the loopback, $3: seconds to wait
# at most, $4: the unit that runs it.
#
# It answers once its model is in memory. The first time it downloads that before, which takes as long as it takes.
set -euo pipefail

readonly container=$1 port=$2 patience=$3 unit=$4
readonly pause=${WHISPER_PAUSE:-2} # seconds between two looks
readonly lives=3                   # containers that may end before it counts as broken

answers() {
    curl --silent --fail --output /dev/null --max-time 10 --noproxy '*' "http://127.0.0.1:$port/docs"
}

die() {
    printf '%s: last log lines:\n' "$unit" >&2
    journalctl --no-pager --quiet --lines=20 --output=cat --unit="$unit" 2>&1 | sed 's/^/    /' >&2 || true
    printf '%s\n' "found:    $1" "expected: an answer on http://127.0.0.1:$port/docs" \
        "fix:      see its log lines above; where the download is what fails, run the same again: it goes on from there" >&2
    exit 1
}

# What is in its cache of models, in MiB.
cached() {
    # shellcheck disable=SC2016 # expanded in the container
    docker exec "$container" sh -c 'du -sm "$ASR_MODEL_PATH"' 2>/dev/null | cut -f 1
}

deadline=$((SECONDS + patience))
seen='' ended=0 told=-1
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
    if [[ -n $size ]] && ((size / 100 > told)); then
        told=$((size / 100))
        echo "$container: not answering yet, $size MiB of models in its cache"
    fi
    sleep "$pause"
done
echo "$container: answers"

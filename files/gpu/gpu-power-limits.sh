#!/bin/bash
# Hold cards to power limits. $1: a file with the UUID and the watts of each card that has one, a line each; without it
# no card has one. A card that had one and has none any more gets its own back.
#
# The driver forgets limits when the machine restarts, and so does the record of them, in /run. A card that is missing
# does not keep the others from theirs.
set -euo pipefail

readonly record=${GPU_POWER_LIMITS_RECORD:-/run/gpu-power-limits}
readonly patience=${GPU_POWER_LIMITS_PATIENCE:-30} # seconds to wait for a card

declare -A wanted=()
while read -r uuid watts; do
    wanted[$uuid]=$watts
done <"${1:-/dev/null}"

limited=()
[[ ! -e $record ]] || mapfile -t limited <"$record"

remember() {
    for uuid in "$@"; do echo "$uuid"; done | sort --unique >"$record.new"
    mv "$record.new" "$record"
}

# Before any is set: whatever ends this, the next run knows which cards may have a limit.
remember "${limited[@]}" "${!wanted[@]}"

failed=0
kept=() # a limit that could not be taken back
for uuid in "${limited[@]}"; do
    [[ -z ${wanted[$uuid]-} ]] || continue
    # One that does not answer is gone, and comes back without a limit.
    if own=$(nvidia-smi -i "$uuid" --query-gpu=power.default_limit --format=csv,noheader,nounits); then
        nvidia-smi -i "$uuid" -pl "$own" || kept+=("$uuid") failed=1
    fi
done

for uuid in "${!wanted[@]}"; do
    "${0%/*}/wait-for-gpu.sh" "$uuid" "$patience" && nvidia-smi -i "$uuid" -pl "${wanted[$uuid]}" || failed=1
done
remember "${kept[@]}" "${!wanted[@]}"
exit "$failed"

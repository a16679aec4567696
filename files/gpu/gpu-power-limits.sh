#!/bin/bash
# Set the power limits of cards. $1: a file with UUID and watts of each card with a limit, a line each; without it no card
# has a limit. A card whose limit was removed from the file gets its default back.
#
# The driver forgets limits when the machine restarts, and so does the record of them, in /run. A missing card does not
# prevent the limits of the others.
set -euo pipefail

readonly record=${GPU_POWER_LIMITS_RECORD:-/run/gpu-power-limits}
readonly patience=${GPU_POWER_LIMITS_PATIENCE:-30} # seconds to wait for a card

declare -A desired=()
while read -r uuid watts; do
    desired[$uuid]=$watts
done <"${1:-/dev/null}"

limited=()
[[ ! -e $record ]] || mapfile -t limited <"$record"

remember() {
    for uuid in "$@"; do echo "$uuid"; done | sort --unique >"$record.new"
    mv "$record.new" "$record"
}

# Before any limit is set: whatever ends this run, the next one knows which cards may have one.
remember "${limited[@]}" "${!desired[@]}"

failed=0
kept=() # a limit that could not be taken back
for uuid in "${limited[@]}"; do
    [[ -z ${desired[$uuid]-} ]] || continue
    # A card that does not answer is missing, and comes back without a limit.
    if own=$(nvidia-smi -i "$uuid" --query-gpu=power.default_limit --format=csv,noheader,nounits); then
        nvidia-smi -i "$uuid" -pl "$own" || kept+=("$uuid") failed=1
    fi
done

for uuid in "${!desired[@]}"; do
    "${0%/*}/wait-for-gpu.sh" "$uuid" "$patience" && nvidia-smi -i "$uuid" -pl "${desired[$uuid]}" || failed=1
done
remember "${kept[@]}" "${!desired[@]}"
exit "$failed"

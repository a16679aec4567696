#!/bin/bash
# A swap file of a wanted size, switched on. $1: its path, $2: size in GiB (0: none).
#
# A file of another size is switched off and replaced. It only gets its name when it is whole and formatted, so that an
# interrupted run is repaired by the next.
set -euo pipefail

readonly path=$1 gib=$2
readonly bytes=$((gib << 30)) new=$path.new

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

active() {
    swapon --show=NAME --noheadings --raw | grep -xF "$path" >/dev/null
}

off() {
    active || return 0
    swapoff "$path" || die \
        "found:  $path is in use and does not fit into memory" \
        "wanted: $gib GiB of swap in it" \
        "mend:   stop what takes most memory (docker stats, systemctl stop 'ollama@*'), and try again"
}

make() {
    (umask 077 && : >"$new")
    chattr +C "$new" 2>/dev/null || true # btrfs only swaps to files that it does not copy on write
    if ! fallocate --length "$bytes" "$new" 2>/dev/null &&
        ! dd if=/dev/zero of="$new" bs=1M count=$((gib * 1024)) status=none; then
        rm -f "$new"
        die \
            "found:  $(df --human-readable --output=avail "$(dirname "$path")" | tail -n 1) free beside $path" \
            "wanted: $gib GiB for swap" \
            "mend:   make room, or declare a smaller size (0 where the machine has other swap)"
    fi
    mkswap "$new" >/dev/null
    mv "$new" "$path"
}

rm -f "$new"
if ((bytes == 0)); then
    off
    rm -f "$path"
    exit 0
fi
if [[ ! -f $path || $(stat --format=%s "$path") != "$bytes" ]]; then
    off
    rm -f "$path" # both together would take twice the room
    make
fi
active || swapon "$path"

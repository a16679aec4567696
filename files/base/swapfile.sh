#!/bin/bash
# Make a swap file of a size, and switch it on. $1: its path, $2: size in GiB (0: none).
#
# A file of another size is switched off and replaced. The new file gets its name when it is complete and formatted, so
# that the next run repairs an interrupted one.
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
        "found:    $path is in use and does not fit into memory" \
        "expected: $gib GiB of swap in it" \
        "fix:      stop what takes most memory (docker stats, systemctl stop 'ollama@*'), and try again"
}

make() {
    (umask 077 && : >"$new")
    chattr +C "$new" 2>/dev/null || true # btrfs swaps only to files without copy-on-write
    if ! fallocate --length "$bytes" "$new" 2>/dev/null &&
        ! dd if=/dev/zero of="$new" bs=1M count=$((gib * 1024)) status=none; then
        rm -f "$new"
        die \
            "found:    $(df --human-readable --output=avail "$(dirname "$path")" | tail -n 1) free beside $path" \
            "expected: $gib GiB for swap" \
            "fix:      free some space, or declare a smaller size (0 where the machine has other swap)"
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
    rm -f "$path" # both together would need twice the space
    make
fi
active || swapon "$path"

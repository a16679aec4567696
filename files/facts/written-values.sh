#!/bin/sh
# Hash, variable (or -) and path of each existing text, a line each, for facts/written_values.py.
# Arguments: a path and a variable for each; an empty variable for the first line of the file.
set -u

while [ $# -ge 2 ]; do
    if [ -s "$1" ]; then
        # The last one counts, as for Compose.
        text=$(if [ -n "$2" ]; then sed -n "s/^$2=//p" "$1" | tail -n 1; else head -n 1 "$1"; fi)
        if [ -n "$text" ] && [ "$text" != "''" ]; then
            digest=$(printf '%s' "$text" | sha256sum)
            printf '%s %s %s\n' "${digest%% *}" "${2:--}" "$1"
        fi
    fi
    shift 2
done
echo

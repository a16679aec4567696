#!/bin/sh
# The manifest of the newest backup of each piece, for facts/backups.py. Argument: the folder of the backups.
set -u
cd "$1" 2>/dev/null || exit 0
for piece in */*/*/; do
    newest=
    for backup in "$piece"[!.]*/; do
        [ -f "${backup}manifest.json" ] && newest=$backup
    done
    [ -n "$newest" ] || continue
    stamp=${newest#"$piece"}
    echo "@@${piece%/} ${stamp%/}"
    cat "${newest}manifest.json"
    echo
done
exit 0

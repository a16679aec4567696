#!/bin/sh
# What facts/backups.py asks. Argument: the folder of the backups. Of each piece, the manifest of its newest backup.
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

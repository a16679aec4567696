#!/usr/bin/env bash
# Has a program send a test message, and notes for which bot and chat; sent by operations/telegram.py.
#
#     test-message.sh STAMP PROGRAM [ARGUMENT...]
#
# Standard input: what to note.
set -euo pipefail
stamp=$1
shift

read -r noted
"$@" </dev/null
umask 077
printf '%s\n' "$noted" >"$stamp.new"
mv -- "$stamp.new" "$stamp"

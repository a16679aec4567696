#!/usr/bin/env bash
# Makes a program send a test message, and records for which bot and chat; sent by operations/telegram.py.
#
#     test-message.sh STAMP PROGRAM [ARGUMENT...]
#
# Standard input: what to record.
set -euo pipefail
stamp=$1
shift

read -r recipient
"$@" </dev/null
umask 077
printf '%s\n' "$recipient" >"$stamp.new"
mv -- "$stamp.new" "$stamp"

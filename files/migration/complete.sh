#!/usr/bin/env bash
# Records that every declared database of a source is copied; sent by operations/postgres_copy.py.
#
#     complete.sh STATE SOURCE
set -euo pipefail
umask 077
mkdir -p -- "$1/$2"
touch -- "$1/$2/.complete"
echo "$2: all declared databases are copied"

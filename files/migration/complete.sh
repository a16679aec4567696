#!/usr/bin/env bash
# Records that every database of a source that was wanted is copied; sent by operations/postgres_copy.py.
#
#     complete.sh STATE SOURCE
set -euo pipefail
umask 077
mkdir -p -- "$1/$2"
touch -- "$1/$2/.complete"
echo "$2: everything that was wanted of it is copied"

#!/bin/sh
# The GPUs as the driver sees them. Where the driver does not answer, its error is reported.
set -u

command -v nvidia-smi >/dev/null || exit 0

query() { # a lost card can make nvidia-smi hang
    timeout 30 nvidia-smi "$@" 2>&1
}

echo '@@list'
query -L
echo "@@status $?"
echo '@@query'
query --query-gpu=uuid,name,pci.bus_id,memory.total,driver_version,power.limit,power.min_limit,power.max_limit \
    --format=csv,noheader,nounits
exit 0

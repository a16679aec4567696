#!/bin/sh
# The GPUs as the driver sees them. A driver that does not answer is reported in its words.
set -u

command -v nvidia-smi >/dev/null || exit 0

ask() { # a lost card can make nvidia-smi hang
    timeout 30 nvidia-smi "$@" 2>&1
}

echo '@@list'
ask -L
echo "@@status $?"
echo '@@query'
ask --query-gpu=uuid,name,pci.bus_id,memory.total,driver_version,power.limit,power.min_limit,power.max_limit \
    --format=csv,noheader,nounits
exit 0

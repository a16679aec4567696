#!/bin/bash
# Change or try a LiteLLM proxy from inside its container; what to do comes on standard input.
# usage: tell.sh CONTAINER PROGRAM PORT SECONDS apply|verify     PROGRAM is the text of proxy.py beside this file
set -euo pipefail
exec docker exec -i "$1" python3 -c "$2" "$3" "$4" "$5"

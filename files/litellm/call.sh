#!/bin/bash
# Change or test a LiteLLM proxy from inside its container; the data comes on standard input.
# usage: call.sh CONTAINER PROGRAM PORT SECONDS apply|verify     PROGRAM is the text of proxy.py beside this file
set -euo pipefail
exec docker exec -i "$1" python3 -c "$2" "$3" "$4" "$5"

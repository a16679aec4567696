#!/bin/sh
# Teams and virtual keys of a LiteLLM proxy; nothing if its container does not run, or is somebody else's, because a run
# sets that aside first.
# Arguments: container, text of files/litellm/proxy.py, port in the container, seconds to wait for it, and whether it must
# answer: without an answer, `no` reports nothing and `yes` fails.
set -u

running='{{and (index .Config.Labels "stack.digest") .State.Running}}'
if [ "$(docker inspect --type container --format "$running" "$1" 2>/dev/null)" = true ]; then
    docker exec "$1" python3 -c "$2" "$3" "$4" read || [ "$5" = no ] || exit 1
fi
echo

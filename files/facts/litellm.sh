#!/bin/sh
# Teams and virtual keys of a LiteLLM proxy; nothing where its container does not run, or is somebody
# else's, which a run sets aside before it asks.
# Arguments: container, text of files/litellm/proxy.py, port in the container, seconds to wait for it, and whether it has to
# answer (yes or no); one that need not is nothing, too.
set -u

running='{{and (index .Config.Labels "stack.digest") .State.Running}}'
if [ "$(docker inspect --type container --format "$running" "$1" 2>/dev/null)" = true ]; then
    docker exec "$1" python3 -c "$2" "$3" "$4" read || [ "$5" = no ] || exit 1
fi
echo

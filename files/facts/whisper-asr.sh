#!/bin/sh
# State of a container of openai-whisper-asr-webservice. Arguments: the container, and its port on the loopback.
set -u
exec 2>/dev/null
container=$1 port=$2

command -v docker >/dev/null || exit 0

# Only the variables that begin with ASR_: the settings of the service, none of which is secret.
echo '@@container'
docker inspect --type container --format '{"image":{{json .Config.Image}},"status":{{json .State.Status}},
"memory":{{json .HostConfig.Memory}},"devices":{{json .HostConfig.DeviceRequests}},
"settings":[{{range .Config.Env}}{{if eq (printf "%.4s" .) "ASR_"}}{{json .}},{{end}}{{end}}""]}' -- "$container" |
    tr -d '\n'
echo

echo '@@docs'
curl --silent --output /dev/null --write-out '%{http_code}' --connect-timeout 2 --max-time 10 --noproxy '*' \
    "http://127.0.0.1:$port/docs"
echo

# The layout of huggingface_hub's cache: a folder for each model, with blobs (those of a running download end in
# .incomplete) and snapshots, whose files are links to blobs. `test -e` follows them.
echo '@@models'
# shellcheck disable=SC2016 # expanded in the container
docker exec "$container" sh -c '
    for model in "$ASR_MODEL_PATH"/models--*; do
        [ -d "$model" ] || continue
        state=incomplete
        for file in "$model"/snapshots/*/model.bin; do
            [ ! -e "$file" ] || state=complete
        done
        for blob in "$model"/blobs/*.incomplete; do
            [ ! -e "$blob" ] || state=incomplete
        done
        echo "${model##*/} $state"
    done'
exit 0
